"""Query and candidates -> scores, and what each operand has to do with them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.options import Combine
from embeddb.query import Contribution
from embeddb.search.sums import Query

__all__ = ["explain", "score", "unit_rows"]

Doubles = npt.NDArray[np.float64]

# Keeps the logarithm finite where an item is the opposite of an operand; Levy and Goldberg's own epsilon.
_EPSILON = 1e-3


def unit_rows(vectors: npt.NDArray[np.floating]) -> Doubles:
    """Vectors (n, d) at unit length; a zero vector stays one."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    lengths[lengths == 0] = 1.0
    unit: Doubles = exact / lengths
    return unit


def score(query: Query, items: Doubles, combine: Combine) -> Doubles:
    """Score items.

    Args:
        items: (n, d) of unit length.

    Returns:
        (n,), larger is nearer.
    """
    if combine is Combine.SUM:
        summed: Doubles = items @ query.vector.astype(np.float64)
        return summed
    similarities = _similarities(query, items)
    if combine is Combine.PRODUCT:
        product: Doubles = np.exp(_logarithms(query, similarities).sum(axis=1))
        return product
    return _decided(query, similarities)[1]


def explain(query: Query, items: Doubles, combine: Combine) -> list[tuple[Contribution, ...]]:
    """Say what each operand of a query contributed to the score of each item.

    Args:
        items: (n, d) of unit length.

    Returns:
        (n) tuples of one contribution an operand.
    """
    similarities = _similarities(query, items)
    if combine is Combine.SUM:
        shares = query.coefficients * (items @ query.operands.T)
    elif combine is Combine.PRODUCT:
        shares = _logarithms(query, similarities)
    else:
        deciding, scores = _decided(query, similarities)
        shares = np.zeros_like(similarities)
        shares[np.arange(len(items)), deciding] = scores
    weights = query.weights.tolist()
    return [
        tuple(Contribution(*each) for each in zip(weights, row, share, strict=True))
        for row, share in zip(similarities.tolist(), shares.tolist(), strict=True)
    ]


def _similarities(query: Query, items: Doubles) -> Doubles:
    """The cosine of each item to each operand, (n, m)."""
    similarities: Doubles = items @ unit_rows(query.operands).T
    return similarities


def _logarithms(query: Query, similarities: Doubles) -> Doubles:
    # Relative to the largest weight, so that 2 * a scores as a does.
    exponents = query.weights / np.abs(query.weights).max()
    logarithms: Doubles = exponents * np.log((1 + similarities) / 2 + _EPSILON)
    return logarithms


def _decided(query: Query, similarities: Doubles) -> tuple[npt.NDArray[np.intp], Doubles]:
    """Which operand decides about each item, (n,), and the score it gives, (n,)."""
    every = np.arange(len(similarities))
    wanted = np.where(query.weights > 0, similarities, -np.inf)
    unwanted = np.where(query.weights < 0, similarities, -np.inf)
    nearest, nearest_unwanted = wanted.argmax(axis=1), unwanted.argmax(axis=1)
    liked = wanted[every, nearest] > unwanted[every, nearest_unwanted]
    deciding = np.where(liked, nearest, nearest_unwanted)
    deciding_similarity = similarities[every, deciding]
    return deciding, np.where(liked, deciding_similarity, -(deciding_similarity**2))
