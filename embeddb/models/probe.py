"""A few images and texts that a network is tried on when it is loaded, to see what it gives and how fast.

The pictures are noise with what is common to photographs, an amplitude that falls as 1/f (Field, "Relations
between the statistics of natural images and the response properties of cortical cells", JOSA A, 1987), and
colours that vary less than brightness.
"""

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

__all__ = ["Measured", "measure", "probes", "warm_up"]

RUNS = 3
# A large network on a slow machine is run once more at least, but not for long.
MAX_SECONDS = 1.0

SIDE = 256

_TEXTS = (
    "a photograph of a cat on a red sofa",
    "two people on bicycles",
    "Invoice no. 1042, due on the 3rd of May",
    "a",
    "The cathedral was begun in 1248, and its towers were completed more than six centuries later.",
    "rot und blau",
)
# Brightness and the two opponent colours, in which pictures vary much and little, as red, green and blue.
_COLOURS = np.array([[1.0, 0.35, 0.1], [1.0, 0.0, -0.25], [1.0, -0.35, 0.1]])


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
        return min(_least_cosine(*pair) for pair in zip(self.features, other.features, strict=True))

    def centred_cosine(self, other: Measured) -> float:
        """The same without what all inputs of a modality share: the mean of the other ones."""
        pairs = zip(self.features, other.features, strict=True)
        return min(_least_cosine(own - mean, others - mean) for own, others, mean in map(_with_mean, pairs))


def probes(modality: Modality) -> Sequence[PilImage.Image | str]:
    """Inputs of one modality, always the same: six texts, or six pictures."""
    if modality is Modality.TEXT:
        return _TEXTS
    random = np.random.default_rng(0)
    return [_noise(random) for _ in _TEXTS]


def warm_up(
    forward: Callable[[Modality, Sequence[Any]], Output],
    prepared: Mapping[Modality, Sequence[Any]],
    sizes: Sequence[int],
) -> Sequence[torch.Tensor]:
    """Run prepared probes through a network, in batches of some sizes, and then all of a modality together.

    Each of those batches begins with another probe, so that texts alone have different lengths.

    Returns:
        (n, dimension) float32 on the CPU for each modality.

    Raises:
        Exception: whatever the network raises.
    """
    for modality, inputs in prepared.items():
        for first, size in enumerate(sizes):
            forward(modality, [inputs[i % len(inputs)] for i in range(first, first + size)])
    return [forward(*each).features.clone() for each in prepared.items()]


def measure(
    forward: Callable[[Modality, Sequence[Any]], Output],
    prepared: Mapping[Modality, Sequence[Any]],
    sizes: Sequence[int],
) -> Measured:
    """Run prepared probes through a network, a few times after it was warmed up.

    Raises:
        Exception: whatever the network raises.
    """
    features = warm_up(forward, prepared, sizes)
    began, fastest = time.perf_counter(), float("inf")
    for _ in range(RUNS):
        started = time.perf_counter()
        for modality, inputs in prepared.items():
            forward(modality, inputs)
        fastest = min(fastest, time.perf_counter() - started)
        if time.perf_counter() - began > MAX_SECONDS:
            break
    return Measured(fastest, features)


def _noise(random: np.random.Generator) -> PilImage.Image:
    """Noise whose amplitude falls as 1/f."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = np.inf
    real, imaginary = random.normal(size=(2, 3, *frequency.shape))
    planes = np.fft.irfft2((real + 1j * imaginary) / frequency, s=(SIDE, SIDE))
    planes /= planes.std(axis=(1, 2), keepdims=True)
    pixels = random.uniform(70, 170) + random.uniform(25, 65) * np.tensordot(planes, _COLOURS, axes=(0, 1))
    return PilImage.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _least_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    # In float64, for some networks' features are as small as 1e-9.
    return torch.cosine_similarity(one.double(), other.double(), eps=1e-300).min().item()


def _with_mean(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return *pair, pair[1].mean(dim=0)
