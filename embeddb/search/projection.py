"""Points -> places on a map of two dimensions (see `embeddb.questions.Map`)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.progress import Step
from embeddb.questions import Umap
from embeddb.search.density import distances

__all__ = ["pca", "umap"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

BLOCK = 512
# What umap-learn takes where there are many points: nobody can end its rounds, so they are kept few.
EPOCHS = 200
SPREAD, REPULSION, NEGATIVES, LEARNING_RATE = 1.0, 1.0, 5, 1.0
# The width of the places that the rounds begin from, as umap-learn has it.
FIRST_WIDTH = 10.0


def pca(points: Doubles) -> tuple[Floats, float]:
    """The two principal components.

    Args:
        points: (n, d), n >= 1.

    Returns:
        (n, 2), zeros where there is no second direction, and the share of the variance that they have.
    """
    apart = points - points.mean(axis=0)
    variances, directions = np.linalg.eigh(apart.T @ apart)
    first = directions[:, ::-1][:, :2]
    # Either sign is as good; the same one is taken every time.
    first = first * np.sign(first[np.abs(first).argmax(axis=0), range(first.shape[1])])
    found = np.zeros((len(points), 2), np.float32)
    found[:, : first.shape[1]] = apart @ first
    total = float(variances.sum())
    return found, float(variances[-2:].sum()) / total if total > 0 else 1.0


def umap(points: Doubles, settings: Umap, step: Step) -> Floats:
    """Places by UMAP, (n, 2).

    Args:
        points: (n, d).
        step: told how many points were compared, and when the rounds begin; what it raises ends the work.

    Raises:
        FailedPreconditionError: umap-learn is not installed.
        InvalidArgumentError: there are not more points than neighbours.
    """
    library = _library()
    if len(points) <= settings.neighbours:
        allowed = f"must be fewer than the items, and there are {len(points):,}"
        raise InvalidArgumentError("umap.neighbours", settings.neighbours, allowed)
    nearest, lengths = _neighbours(points, settings.neighbours, step)
    exact = points.astype(np.float32)
    graph, _, _ = library.fuzzy_simplicial_set(
        exact,
        settings.neighbours,
        np.random.RandomState(settings.seed),
        "euclidean",
        knn_indices=nearest,
        knn_dists=lengths,
    )
    # From here on it cannot be ended: its rounds are in the library's hands.
    step("laying out", 0, 1)
    a, b = library.find_ab_params(SPREAD, settings.min_distance)
    found, _ = library.simplicial_set_embedding(
        exact,
        graph,
        2,
        LEARNING_RATE,
        a,
        b,
        REPULSION,
        NEGATIVES,
        EPOCHS,
        _begin(points),
        np.random.RandomState(settings.seed),
        "euclidean",
        {},
        False,
        {},
        False,
        parallel=False,
    )
    step("laying out", 1, 1)
    return np.asarray(found, np.float32)


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            # It says that one of its classes, which is not used here, misses TensorFlow.
            warnings.simplefilter("ignore", ImportWarning)
            from umap import umap_
    except ModuleNotFoundError:
        needed = "UMAP needs umap-learn, which is not installed: pip install 'embeddb[analysis]'"
        raise FailedPreconditionError(needed) from None
    return umap_


def _neighbours(points: Doubles, count: int, step: Step) -> tuple[npt.NDArray[np.int32], Floats]:
    """The nearest of each point, itself first, (n, count), and how far they are."""
    nearest = np.empty((len(points), count), np.int32)
    lengths = np.empty((len(points), count), np.float32)
    for start in range(0, len(points), BLOCK):
        step("comparing", start, len(points))
        apart = distances(points[start : start + BLOCK], points)
        # Copies are at no distance either; each point is to be its own first neighbour all the same.
        apart[np.arange(len(apart)), np.arange(start, start + len(apart))] = -1.0
        order = np.argsort(apart, axis=1, kind="stable")[:, :count]
        nearest[start : start + BLOCK] = order
        lengths[start : start + BLOCK] = np.maximum(np.take_along_axis(apart, order, axis=1), 0.0)
    return nearest, lengths


def _begin(points: Doubles) -> Floats:
    """The PCA, as wide as UMAP wants it.

    Kobak & Linderman, "Initialization is critical for preserving global data structure in both t-SNE and
    UMAP" (Nature Biotechnology, 2021).
    """
    first, _ = pca(points)
    widest = float(np.abs(first).max())
    # Points that are equal must not stay so: they would never part.
    jitter = np.random.default_rng(0).normal(scale=1e-4, size=first.shape)
    return (FIRST_WIDTH * first / (widest or 1.0) + jitter).astype(np.float32)
