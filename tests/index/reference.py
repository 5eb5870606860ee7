"""What the index must agree with: the definitions, in float64, one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.query import Metric

Doubles = npt.NDArray[np.float64]


def scores(metric: Metric, queries: npt.ArrayLike, vectors: npt.ArrayLike) -> Doubles:
    """The score of every vector (n, d) for every query (q, d): (q, n) float64."""
    asked, stored = np.asarray(queries, np.float64), np.asarray(vectors, np.float64)
    if metric is Metric.L2:
        return -np.linalg.norm(asked[:, None] - stored[None], axis=2)
    if metric is Metric.COSINE:
        asked, stored = _unit(asked), _unit(stored)
    return asked @ stored.T


def assert_best(
    expected: Doubles, rows: npt.NDArray[np.int64], found: npt.NDArray[np.float32], tolerance: float
) -> None:
    """Check hits (k) against the scores (n) of rows 0 to n-1, minus infinity for those that may not be hits.

    Rows whose scores differ by less than the tolerance may stand in each other's place.
    """
    living = int(np.isfinite(expected).sum())
    best = np.sort(expected)[::-1][: len(rows)]
    kept = min(living, len(rows))
    assert (rows[kept:] == -1).all()
    assert np.isneginf(found[kept:]).all()
    assert len(set(rows[:kept].tolist())) == kept
    np.testing.assert_allclose(found[:kept], expected[rows[:kept]], atol=tolerance)
    np.testing.assert_allclose(expected[rows[:kept]], best[:kept], atol=tolerance)
    assert (np.diff(found[:kept]) <= 0).all()


def _unit(vectors: Doubles) -> Doubles:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
