"""Points -> the centres of clusters, by FAISS (see `embeddb.questions.KMeans`)."""

from __future__ import annotations

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.progress import Step
from embeddb.questions import KMeans

__all__ = ["Centres"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

# Its work grows with the square of the clusters: beyond so many, centres begin at items drawn by chance.
MAX_CAREFUL = 256


class Centres:
    """The centres of k clusters.

    Args:
        sample: (n, d) points to find them by, n >= k; of unit length if `spherical`.
        settings: how many, and how long to look.
        spherical: whether centres are brought to unit length, and points given to that of the least angle.
        step: told of every round; what it raises ends the search.
    """

    def __init__(self, sample: Floats, settings: KMeans, spherical: bool, step: Step) -> None:
        self._spherical = spherical
        careful = settings.k <= MAX_CAREFUL
        kmeans = faiss.Kmeans(
            sample.shape[1],
            settings.k,
            niter=1,  # A round a call, so that the caller can give up between two.
            seed=settings.seed,
            spherical=spherical,
            init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
            if careful
            else faiss.ClusteringInitMethod_RANDOM,
            min_points_per_centroid=1,
            max_points_per_centroid=len(sample),
        )
        before = np.empty(0, np.float32)
        for done in range(settings.iterations):
            step("moving centres", done, settings.iterations)
            kmeans.train(sample, init_centroids=before if done else None)
            centres = np.asarray(kmeans.centroids)
            if np.array_equal(centres, before):
                break
            before = centres
        self._kmeans = kmeans

    def assign(self, points: Floats) -> tuple[Labels, Doubles]:
        """The nearest centre of each point, (n,), and the squares of the distances to it, (n,)."""
        found, labels = self._kmeans.assign(points)
        squares = 2.0 - 2.0 * found.astype(np.float64) if self._spherical else found.astype(np.float64)
        return labels, np.maximum(squares, 0.0)
