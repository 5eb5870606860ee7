"""Candidates of one query, best first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ranking"]

Rows = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows and their scores, best first; where scores are equal, the older row goes first.

    Attributes:
        rows: (n,) int64, none twice.
        scores: (n,) float64.
    """

    rows: Rows
    scores: Doubles

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def best_first(cls, rows: Rows, scores: npt.NDArray[np.floating]) -> Ranking:
        """Rank candidates that come in any order; -1 stands for none."""
        order = np.lexsort((rows, -scores))
        order = order[rows[order] >= 0]
        return cls(rows[order], scores[order].astype(np.float64))

    def without(self, rows: Collection[int]) -> Ranking:
        """The ranking without some rows."""
        if not rows:
            return self
        kept = ~np.isin(self.rows, list(rows))
        return Ranking(self.rows[kept], self.scores[kept])

    def part(self, start: int, stop: int) -> Ranking:
        """The candidates from one place on to before another."""
        return Ranking(self.rows[start:stop], self.scores[start:stop])
