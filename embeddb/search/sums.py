"""Weighted sums of operands, those of many expressions at once (3CosAdd; see `embeddb.query`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embeddb.options import Combine

__all__ = ["ZERO", "Query", "norms", "weighted_sum", "weighted_sums"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# A sum is zero when what is left of it is no more than float32's rounding of its operands.
ZERO = 1e-6


class Query(NamedTuple):
    """An expression in a space.

    Attributes:
        weights: (m,) of the operands, as written.
        coefficients: (m,) such that their sum over the operands has unit length; zeros where the operands
            cancel, which only a search by their sum refuses.
        operands: (m, d), as they enter the sum: centred and normalised as the arithmetic says.
        vector: their sum, (d,) float32 of unit length; zeros where they cancel.
    """

    weights: Doubles
    coefficients: Doubles
    operands: Doubles
    vector: Floats

    @property
    def sum(self) -> Floats:
        """The sum of the operands as they are weighted, (d,) float32, whatever its length."""
        with np.errstate(over="ignore"):  # What is infinite is refused by the index, by name.
            return weighted_sum(self.weights, self.operands).astype(np.float32)

    def probes(self, combine: Combine) -> Floats:
        """The vectors whose neighbours are candidates, (p, d) float32 of unit length."""
        if combine is Combine.SUM:
            return self.vector[np.newaxis]
        wanted = self.operands[self.weights > 0].astype(np.float32)
        if combine is Combine.PRODUCT and self.coefficients.any():
            return np.vstack([wanted, self.vector])
        return wanted


def weighted_sums(
    weights: Doubles, rows: Doubles, counts: Sequence[int], *, unit: bool
) -> Iterator[tuple[Query, bool]]:
    """Weigh and sum the operands of each expression, one expression at least; all sums at once.

    Args:
        weights: (m,) of all operands, those of one expression behind those of the one before.
        rows: (m, d): the operands.
        counts: how many each expression has.
        unit: whether the operands have unit length.

    Yields:
        The query of each, and whether its operands cancel.
    """
    runs = _Runs(counts)
    # Relative to the largest, so that neither huge weights nor tiny ones leave float64's range.
    largest = runs.each(np.maximum, np.abs(weights))
    largest[largest == 0.0] = 1.0
    scaled = weights / runs.spread(largest)
    # Not a matrix product, whose rounding may depend on the order of two terms.
    sums = runs.each(np.add, scaled[:, np.newaxis] * rows)
    lengths = norms(sums)
    # Operands that are not normalised have the scale of the largest.
    least = ZERO if unit else ZERO * runs.each(np.maximum, norms(rows))
    cancel = lengths <= least
    lengths[cancel] = np.inf
    coefficients = scaled / runs.spread(lengths)
    vectors = (sums / lengths[:, np.newaxis]).astype(np.float32)
    for vector, cancels, start, stop in zip(vectors, cancel.tolist(), runs.starts, runs.stops, strict=True):
        yield Query(weights[start:stop], coefficients[start:stop], rows[start:stop], vector), cancels


class _Runs:
    """Numbers in runs of given lengths, one behind the other; most often each run is of one."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self.stops = list(accumulate(lengths))
        self.starts = [0, *self.stops[:-1]]
        self._of_one = self.stops[-1] == len(lengths)

    def each(self, function: np.ufunc, values: Doubles) -> Doubles:
        """What a function such as `np.add` makes of each run of values (n, ...)."""
        if self._of_one:
            return values
        reduced: Doubles = function.reduceat(values, self.starts)
        return reduced

    def spread(self, values: Doubles) -> Doubles:
        """The value of each run, as often as it is long."""
        return values if self._of_one else np.repeat(values, self._lengths)


def norms(vectors: Doubles) -> Doubles:
    """The length of each of some vectors (n, d): (n,)."""
    # Of a lone vector in half the time that einsum takes: what numpy does in Python is seldom in the caches.
    squares = (vectors[:, np.newaxis] @ vectors[:, :, np.newaxis]).ravel()
    lengths: Doubles = np.sqrt(squares)
    return lengths


def weighted_sum(weights: Doubles, operands: Doubles) -> Doubles:
    """The sum of operands (m, d) by their weights (m,): (d,)."""
    # Not a matrix product, whose rounding may depend on the order of two terms.
    total: Doubles = (weights[:, np.newaxis] * operands).sum(axis=0)
    return total
