"""Query and candidates -> distances by shared neighbours (see `embeddb.options.KReciprocal`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.options import KReciprocal

__all__ = ["reciprocal_distances"]

Doubles = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]

# The share of a candidate's neighbours that must be the query's too, for them to be added (the paper's 2/3).
_OVERLAP = 2 / 3


def reciprocal_distances(query: Doubles, items: Doubles, parameters: KReciprocal) -> Doubles:
    """The final distances of the paper between a query and its gallery.

    Args:
        query: (d,) of unit length.
        items: (n, d) of unit length: the gallery.

    Returns:
        (n,), smaller is nearer, 0 to 1.
    """
    everyone = np.vstack([query, items])
    squared = np.maximum(2 - 2 * everyone @ everyone.T, 0)
    # A gallery of nothing but the query leaves a maximum of 0.
    distances = (squared / np.maximum(squared.max(axis=0), np.finfo(float).tiny)).T
    order = np.argsort(distances, axis=1, kind="stable")
    encoding = _encoding(distances, _ranks(order), parameters.k1)
    if parameters.k2 > 1:
        encoding = encoding[order[:, : parameters.k2]].mean(axis=1)
    shared = np.minimum(encoding[0], encoding[1:]).sum(axis=1)
    jaccard = 1 - shared / (2 - shared)
    final: Doubles = (1 - parameters.weight) * jaccard + parameters.weight * distances[0, 1:]
    return final


def _ranks(order: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The place of each in the order of each, (n, n)."""
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(order))[np.newaxis], axis=1)
    return ranks


def _encoding(distances: Doubles, ranks: npt.NDArray[np.intp], k1: int) -> Doubles:
    """How much each is a neighbour of each, (n, n): a Gaussian over reciprocal neighbours; rows sum to 1."""
    neighbours = _reciprocal(ranks, k1)
    # Rounded to even at .5, as the authors' code does.
    close = _reciprocal(ranks, round(k1 / 2))
    overlap = neighbours.astype(np.float32) @ close.astype(np.float32).T
    taken = neighbours & (overlap > _OVERLAP * close.sum(axis=1))
    expanded = neighbours | (taken.astype(np.float32) @ close.astype(np.float32) > 0)
    weights = np.where(expanded, np.exp(-distances), 0.0)
    encoding: Doubles = weights / weights.sum(axis=1, keepdims=True)
    return encoding


def _reciprocal(ranks: npt.NDArray[np.intp], k: int) -> Masks:
    """Which are among each other's k nearest; each is its own neighbour, too, beside these k."""
    near = ranks <= k
    return near & near.T
