"""The keys that several loaders share, read alike everywhere."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from embeddb.errors import InvalidArgumentError
from embeddb.models.spec import Spec

__all__ = ["exactly_one", "seeded", "take_labels", "take_pair", "take_seed", "take_statistics"]

MAX_SEED = 2**63 - 1
MAX_SIDE = 4096

# torch has one generator for the process: networks that are made at the same time would share its numbers.
_generator = threading.Lock()


def exactly_one(given: Mapping[str, bool]) -> None:
    """Refuse a spec that names no source of its weights, or several.

    Args:
        given: every key that names one, and whether the spec has it.

    Raises:
        InvalidArgumentError: not exactly one is there.
    """
    present = [key for key, there in given.items() if there]
    if len(present) != 1:
        allowed = f"exactly one of {', '.join(given)} is needed"
        raise InvalidArgumentError("spec", " and ".join(present) or "none", allowed)


def take_seed(spec: Spec) -> int | None:
    """The key "seed": weights at random from a number, for tests and measurements."""
    seed = spec.take("seed", int, None)
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise InvalidArgumentError(f"{spec.field}.seed", seed, "must be 0 to 2^63 - 1")
    return seed


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Make a network's initial weights from a seed (0 if None), leaving torch's generator as it was."""
    with _generator, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        yield


def take_labels(spec: Spec, imagenet: Sequence[str]) -> tuple[str, ...] | None:
    """The key "labels": the names of the classes, "imagenet" for these thousand; None if not given."""
    labels = spec.take("labels", object, None)
    if labels is None:
        return None
    if labels == "imagenet":
        return tuple(imagenet)
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        return tuple(labels)
    allowed = 'must be "imagenet" or a list of names'
    raise InvalidArgumentError(f"{spec.field}.labels", labels, allowed)


def take_statistics(spec: Spec) -> dict[str, tuple[float, ...]]:
    """The keys "mean" and "std", three numbers each for red, green and blue in [0, 1]; those given."""
    statistics: dict[str, tuple[float, ...]] = {}
    for key, least in (("mean", -math.inf), ("std", 0.0)):
        values = spec.take(key, list, None)
        if values is None:
            continue
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if len(values) != 3 or not numbers or not all(least < value < math.inf for value in values):
            allowed = "must be three numbers" + (" above 0" if key == "std" else "")
            raise InvalidArgumentError(f"{spec.field}.{key}", values, allowed)
        statistics[key] = tuple(float(value) for value in values)
    return statistics


def take_pair(spec: Spec, key: str, default: tuple[int, int]) -> tuple[int, int]:
    """A key for (height, width) in pixels: two whole numbers, or one for both."""
    value = spec.take(key, object, list(default))
    pair = [value, value] if isinstance(value, int) else value
    if not isinstance(pair, list) or len(pair) != 2 or not all(_is_side(side) for side in pair):
        allowed = f"must be [height, width] or one number, of 1 to {MAX_SIDE} pixels"
        raise InvalidArgumentError(f"{spec.field}.{key}", value, allowed)
    return pair[0], pair[1]


def _is_side(side: object) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MAX_SIDE
