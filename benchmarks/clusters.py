"""Vectors as real features are: in clusters, and of fewer dimensions than they have numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

INTRINSIC = 30
CLUSTERS = 500
PIECE = 50_000


def make_data(dimension: int, rng: np.random.Generator) -> Callable[[int], Floats]:
    """Draws unit vectors from 500 clusters within a random subspace, with a little noise outside it.

    About 30 dimensions matter, so that approximate search behaves as on the features of real models; in
    vectors that are random in every dimension all are equally far apart, and no index finds anything.
    """
    basis = rng.normal(size=(INTRINSIC, dimension)).astype(np.float32)
    centres = rng.normal(size=(CLUSTERS, INTRINSIC)).astype(np.float32)

    def draw(count: int) -> Floats:
        inside = centres[rng.integers(CLUSTERS, size=count)] + rng.normal(size=(count, INTRINSIC))
        vectors = inside.astype(np.float32) @ basis + rng.normal(size=(count, dimension)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return draw


def write_vectors(file: Path, draw: Callable[[int], Floats], count: int) -> Floats:
    """Draw vectors into a .npy file, a piece at a time; gives the file (count, dimension), mapped."""
    dimension = draw(1).shape[1]
    vectors = np.lib.format.open_memmap(file, "w+", np.dtype(np.float32), (count, dimension))
    for start in range(0, count, PIECE):
        vectors[start : start + PIECE] = draw(min(PIECE, count - start))
    vectors.flush()
    return vectors


def nearest(vectors: Floats, queries: Floats, k: int) -> Ids:
    """The true k of the greatest inner product with each query, in float32: (queries, k), best first."""
    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(vectors), PIECE):
        found = queries @ vectors[start : start + PIECE].T
        best = np.argpartition(-found, min(k, found.shape[1]) - 1)[:, :k]
        scores = np.hstack([scores, np.take_along_axis(found, best, 1)])
        rows = np.hstack([rows, best + start])
    order = np.argsort(-scores, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, 1)


def recall(found: Ids | list[list[int]], truth: Ids) -> float:
    """The share of the true nearest that was found, 0 to 1."""
    pairs = zip(found, truth.tolist(), strict=True)
    return float(np.mean([len(set(each) & set(best)) / len(best) for each, best in pairs]))
