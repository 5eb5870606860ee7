"""What ranks best among many places: block by block, and in each block group by group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK_PLACES", "GROUP", "Shortlist", "largest", "ranked"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

BLOCK_PLACES = 65_536
GROUP = 64
"""Places whose largest is compared first: the groups with the largest of these hold what ranks best."""


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The places of each query that rank best.

    Attributes:
        ranks: (q, size) float32, best first, minus infinity where no more are allowed.
        places: (q, size) int64, -1 there.
        rounding: what a rank is off by at most, relative to itself, beside what the vectors and the queries
            were rounded by.
        asked: (q, d) float32: the queries, as they were rounded before they were multiplied.
    """

    ranks: Floats
    places: Places
    rounding: float
    asked: Floats


def ranked(
    best_of: Callable[[int, int, int], tuple[Floats, Places]],
    first: int,
    count: int,
    size: int,
    block: int = BLOCK_PLACES,
) -> tuple[Floats, Places]:
    """The best `size` of `count` places from `first` on, at most as many as there are.

    Args:
        best_of: gives the best of the places from one to another, not included, as many as its last argument
            says: ranks (q, m) float32 and places (q, m) int64. All of them count from `first`.
        block: from how many places it gives the best.

    Returns:
        Ranks and places as a `Shortlist` has them.
    """
    found = [
        best_of(start, min(start + block, count), min(size, count - start, block))
        for start in range(0, count, block)
    ]
    ranks, chosen = _top(np.concatenate([each[0] for each in found], axis=1), size)
    places = np.take_along_axis(np.concatenate([each[1] for each in found], axis=1), chosen, 1) + first
    places[np.isneginf(ranks)] = -1
    return ranks, places


def largest(found: Floats, size: int) -> tuple[Floats, Places]:
    """The `size` largest of each column of (n, q): values (q, size), best first, and where they are."""
    n, q = found.shape
    groups = n // GROUP
    if groups < 2 * size:
        return _top(np.ascontiguousarray(found.T), size)
    grouped = found[: groups * GROUP].reshape(groups, GROUP, q)
    chosen = _top(np.ascontiguousarray(grouped.max(axis=1).T), size)[1]
    # Behind the members of the chosen groups come those that make no full group.
    inside = grouped.transpose(2, 0, 1)[np.arange(q)[:, np.newaxis], chosen].reshape(q, -1)
    values, where = _top(np.concatenate([inside, found[groups * GROUP :].T], axis=1), size)
    group = np.take_along_axis(chosen, np.minimum(where // GROUP, size - 1), 1)
    return values, np.where(
        where < size * GROUP, group * GROUP + where % GROUP, where + (groups - size) * GROUP
    )


def _top(values: Floats, size: int) -> tuple[Floats, Places]:
    """The `size` largest of each row, best first, and where they are."""
    where = np.argpartition(values, values.shape[1] - size, axis=1)[:, values.shape[1] - size :]
    top = np.take_along_axis(values, where, 1)
    order = np.argsort(-top, axis=1)
    return np.take_along_axis(top, order, 1), np.take_along_axis(where, order, 1)
