"""Clustered vectors, as features are, and how many of the nearest among them an index finds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.index import SpaceIndex
from embeddb.options import Effort

DIMENSION = 16
Floats = npt.NDArray[np.float32]


def clustered(
    count: int, seed: int = 0, *, centres: int = 50, spread: float = 0.7, place: float = 0.0
) -> Floats:
    """Vectors (count, 16) around centres, which lie about `place` in every dimension."""
    rng = np.random.default_rng(seed)
    middles = place + np.random.default_rng(99).normal(size=(centres, DIMENSION))
    vectors = middles[rng.integers(centres, size=count)] + spread * rng.normal(size=(count, DIMENSION))
    return vectors.astype(np.float32)


def recall_at_10(
    index: SpaceIndex,
    queries: Floats,
    effort: Effort = Effort.BALANCED,
    allowed: npt.NDArray[np.int64] | None = None,
) -> float:
    """The share of the ten exact nearest of each query that a search of an effort finds."""
    exact = index.search(queries, 10, allowed, Effort.EXACT)[1]
    found = index.search(queries, 10, allowed, effort)[1]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)]))
