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

    A re-ranked one is in another order.

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

    @classmethod
    def of_each(cls, rows: Rows, scores: npt.NDArray[np.floating]) -> list[Ranking]:
        """The rankings of queries whose candidates (q, m) are best first already; -1, for none, is last."""
        if -1 in rows[:, -1].tolist():
            # Not by count_nonzero, which with an axis takes nearly twice as long.
            counts = (rows >= 0).sum(axis=1).tolist()
        else:
            counts = [rows.shape[1]] * len(rows)
        return [
            cls(its_rows[:count], its_scores[:count])
            for its_rows, its_scores, count in zip(rows, scores.astype(np.float64), counts, strict=True)
        ]

    def without(self, rows: Collection[int]) -> Ranking:
        """The ranking without some rows."""
        if not rows:
            return self
        kept = ~np.isin(self.rows, list(rows))
        return Ranking(self.rows[kept], self.scores[kept])

    def only(self, rows: Rows) -> Ranking:
        """The ranking of these rows alone."""
        kept = np.isin(self.rows, rows)
        return Ranking(self.rows[kept], self.scores[kept])

    def at_least(self, score: float) -> Ranking:
        """The candidates of that score and more."""
        kept = self.scores >= score
        return Ranking(self.rows[kept], self.scores[kept])

    def in_order(self, places: npt.NDArray[np.intp]) -> Ranking:
        """The candidates at these places, in their order, which is no longer that of the scores."""
        return Ranking(self.rows[places], self.scores[places])

    def part(self, start: int, stop: int) -> Ranking:
        """The candidates from one place on to before another."""
        if start == 0 and stop >= len(self):
            return self
        return Ranking(self.rows[start:stop], self.scores[start:stop])
