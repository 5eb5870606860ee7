"""Points -> clusters where they lie close together (see `embeddb.questions.Hdbscan`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError
from embeddb.progress import Step
from embeddb.questions import NOISE, Hdbscan

__all__ = ["dense_clusters", "distances"]

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

BLOCK = 512


def dense_clusters(points: Doubles, settings: Hdbscan, step: Step) -> Labels:
    """The cluster of each point, (n,), `NOISE` for none.

    Args:
        points: (n, d).
        step: told how many points were compared with all others; what it raises ends the search.

    Raises:
        FailedPreconditionError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import HDBSCAN
    except ModuleNotFoundError:
        needed = "HDBSCAN needs scikit-learn, which is not installed: pip install 'embeddb[analysis]'"
        raise FailedPreconditionError(needed) from None
    neighbours = settings.min_size if settings.neighbours is None else settings.neighbours
    if len(points) < max(settings.min_size, neighbours):
        return np.full(len(points), NOISE, np.int64)
    pairs = np.empty((len(points), len(points)))
    for start in range(0, len(points), BLOCK):
        step("comparing", start, len(points))
        pairs[start : start + BLOCK] = distances(points[start : start + BLOCK], points)
    step("comparing", len(points), len(points))
    # Rounding leaves a point a little away from itself, and a pair a little further one way than the other.
    np.fill_diagonal(pairs, 0.0)
    np.minimum(pairs, pairs.T, out=pairs)
    found = HDBSCAN(
        min_cluster_size=settings.min_size, min_samples=neighbours, metric="precomputed", copy=False
    ).fit(pairs)
    return np.where(found.labels_ < 0, NOISE, found.labels_).astype(np.int64)


def distances(some: Doubles, points: Doubles) -> Doubles:
    """The Euclidean distances of some points (m, d) to points (n, d), (m, n)."""
    squares = (some**2).sum(axis=1)[:, np.newaxis] + (points**2).sum(axis=1) - 2.0 * (some @ points.T)
    found: Doubles = np.sqrt(np.maximum(squares, 0.0))
    return found
