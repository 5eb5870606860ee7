"""A few images and texts that a network is tried on when it is loaded, to see what it gives and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage

from embeddb.models.network import Output
from embeddb.query import Modality

__all__ = ["Measured", "measure", "probes"]

RUNS = 3
# A large network on a slow machine is run once more at least, but not for long.
MAX_SECONDS = 1.0

_TEXTS = (
    "a photograph of a cat on a red sofa",
    "two people on bicycles",
    "Invoice no. 1042, due on the 3rd of May",
    "a",
)


@dataclass(frozen=True)
class Measured:
    """What a network did on the probe.

    Attributes:
        seconds: the fastest run took, all modalities together.
        features: (n, dimension) float32 on the CPU for each modality.
    """

    seconds: float
    features: Sequence[torch.Tensor]

    def cosine(self, other: Measured) -> float:
        """The least cosine between these features and other ones of the same inputs."""
        return min(
            torch.cosine_similarity(own, others).min().item()
            for own, others in zip(self.features, other.features, strict=True)
        )


def probes(modality: Modality) -> Sequence[PilImage.Image | str]:
    """Inputs of one modality, always the same: texts, or pictures of soft coloured blots."""
    if modality is Modality.TEXT:
        return _TEXTS
    random = np.random.default_rng(0)
    blots = random.integers(0, 256, (len(_TEXTS), 8, 8, 3), dtype=np.uint8)
    return [PilImage.fromarray(each).resize((320, 240), PilImage.Resampling.BICUBIC) for each in blots]


def measure(
    forward: Callable[[Modality, Sequence[Any]], Output], prepared: Mapping[Modality, Sequence[Any]]
) -> Measured:
    """Run prepared probes through a network, a few times after one that warms it up.

    Raises:
        Exception: whatever the network raises.
    """
    features = [forward(*each).features.float().cpu().clone() for each in prepared.items()]
    for modality, inputs in prepared.items():
        # Where the network is compiled, a batch of one is compiled apart.
        forward(modality, inputs[:1])
    began, fastest = time.perf_counter(), float("inf")
    for _ in range(RUNS):
        started = time.perf_counter()
        for modality, inputs in prepared.items():
            forward(modality, inputs).features.float().cpu()
        fastest = min(fastest, time.perf_counter() - started)
        if time.perf_counter() - began > MAX_SECONDS:
            break
    return Measured(fastest, features)
