"""A few images and texts that a network is tried on when it is loaded, to see what it gives and how fast.

The pictures are noise with what is common to photographs, an amplitude that falls as 1/f (Field, "Relations
between the statistics of natural images and the response properties of cortical cells", JOSA A, 1987), and
colours that vary less than brightness.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage

from embeddb.models.network import Output
from embeddb.query import Modality

__all__ = ["in_turns", "least_centred_cosine", "least_cosine", "probes", "seconds", "warm_up"]

# Within a turn, a small network is run again while its weights are in the processor's caches.
RUNS = 3
TURN_SECONDS = 0.1
# A slow network has the fewest rounds of which the median leaves one out that others disturbed.
MIN_ROUNDS, MAX_ROUNDS = 3, 9
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


def least_cosine(features: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    """The least cosine between features, (n, dimension) for each modality, and others of the same inputs."""
    return min(_least_cosine(*pair) for pair in zip(features, others, strict=True))


def least_centred_cosine(features: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    """The same without what all inputs of a modality share: the mean of the others."""
    means = [each.mean(dim=0) for each in others]
    triples = zip(features, others, means, strict=True)
    return min(_least_cosine(own - mean, other - mean) for own, other, mean in triples)


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


def seconds(
    forward: Callable[[Modality, Sequence[Any]], Output], prepared: Mapping[Modality, Sequence[Any]]
) -> float:
    """What a run of the prepared probes takes, all modalities together: the fastest of a few.

    Raises:
        Exception: whatever the network raises.
    """
    began, fastest = time.perf_counter(), float("inf")
    for _ in range(RUNS):
        started = time.perf_counter()
        for each in prepared.items():
            forward(*each)
        fastest = min(fastest, time.perf_counter() - started)
        if time.perf_counter() - began > TURN_SECONDS:
            break
    return fastest


def in_turns(turns: Sequence[Callable[[], float]]) -> np.ndarray:
    """What several ways take, each in its turn, round after round.

    What else a machine does meanwhile comes and goes: within a round it meets all ways alike, and ratios
    within rounds, of which one takes the median, say how fast the ways are when one way's time in all rounds
    does not.

    Args:
        turns: give the seconds that each way takes in a turn.

    Returns:
        (rounds, ways) float64 seconds; from 3 rounds, of a slow network, to 9.

    Raises:
        Exception: whatever a turn raises.
    """
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < MIN_ROUNDS or (
        len(rounds) < MAX_ROUNDS and time.perf_counter() - began < MAX_SECONDS
    ):
        rounds.append([turn() for turn in turns])
    return np.array(rounds)


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
