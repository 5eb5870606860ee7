"""A search on its way out: expressions evaluated, candidates found, scored, cut and explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.options import Arithmetic
from embeddb.query import Contribution, Metric, Search
from embeddb.search.evaluate import Query, evaluate, item_ids
from embeddb.search.ranking import Ranking
from embeddb.search.scoring import explain, score
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore

__all__ = ["Found", "Retrieval"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """A hit before its item is read."""

    row: int
    score: float
    explanation: tuple[Contribution, ...] = ()


class Retrieval:
    """Answers one search in one space.

    Args:
        search: what is asked.
        space: where to look.
        store: the collection's storage.
        selection: the collection's filters.

    Raises:
        InvalidArgumentError: the search's filter is none, or compares what cannot be compared; or the search
            has an option that only means something where vectors are compared by their cosine.
    """

    def __init__(self, search: Search, space: Space, store: CollectionStore, selection: Selection) -> None:
        self._allowed = selection.rows(search.filter) if search.filter else None
        self._search = search
        self._arithmetic = _arithmetic(search, space.metric)
        self._space = space
        self._store = store

    def answer(self) -> list[list[Found] | EmbeddbError]:
        """Answer every expression, an error in the place of each that could not be evaluated."""
        outcomes = evaluate(self._search.expressions, self._space, self._arithmetic)
        queries = {place: each for place, each in enumerate(outcomes) if isinstance(each, Query)}
        left_out = [self._left_out(place) for place in queries]
        rankings = self._rankings(list(queries.values()), max(map(len, left_out), default=0))
        answers: dict[int, list[Found]] = {
            place: self._found(query, ranking.without(rows))
            for (place, query), ranking, rows in zip(queries.items(), rankings, left_out, strict=True)
        }
        return [
            each if isinstance(each, EmbeddbError) else answers[place] for place, each in enumerate(outcomes)
        ]

    def _left_out(self, place: int) -> set[int]:
        if self._search.include_operands:
            return set()
        named = self._store.rows(sorted(item_ids(self._search.expressions[place])))
        return {row for row in named if row is not None}

    def _rankings(self, queries: Sequence[Query], left_out: int) -> list[Ranking]:
        """The candidates of each query, scored; all of them are found in one call of the index."""
        if not queries:
            return []
        arithmetic = self._arithmetic
        depth = (self._search.candidates if arithmetic.scores_anew else self._search.k) + left_out
        if self._space.metric is Metric.COSINE:
            probes = [query.probes(arithmetic.combine) for query in queries]
        else:
            probes = [query.sum[np.newaxis] for query in queries]
        scores, rows = self._nearest(np.concatenate(probes), depth)
        rankings = []
        start = 0
        for query, probe in zip(queries, probes, strict=True):
            stop = start + len(probe)
            if arithmetic.scores_anew:
                rankings.append(self._scored(query, np.unique(rows[start:stop])))
            else:
                rankings.append(Ranking.best_first(rows[start], scores[start]))
            start = stop
        return rankings

    def _nearest(self, probes: npt.NDArray[np.float32], depth: int) -> tuple[npt.NDArray[np.float32], Rows]:
        """At least the `depth` nearest rows of each probe, and whatever has the same score as the last one.

        Without the latter, which of many equals are found would depend on the depth, and pages overlap.
        """
        asked = depth + 1
        while True:
            scores, rows = self._space.nearest(probes, asked, self._allowed)
            cut_short = (rows[:, -1] >= 0) & (scores[:, -1] == scores[:, depth - 1])
            if not cut_short.any():
                return scores, rows
            asked *= 2

    def _scored(self, query: Query, rows: Rows) -> Ranking:
        living, items = self._space.placed(rows[rows >= 0].tolist(), self._search.arithmetic)
        return Ranking.best_first(living, score(query, items, self._search.arithmetic.combine))

    def _found(self, query: Query, ranking: Ranking) -> list[Found]:
        page = ranking.part(0, self._search.k)
        scores = dict(zip(page.rows.tolist(), page.scores.tolist(), strict=True))
        if not self._search.explain:
            return [Found(row, value) for row, value in scores.items()]
        rows, items = self._space.placed(page.rows.tolist(), self._search.arithmetic)
        explanations = explain(query, items, self._search.arithmetic.combine)
        return [Found(row, scores[row], each) for row, each in zip(rows.tolist(), explanations, strict=True)]


def _arithmetic(search: Search, metric: Metric) -> Arithmetic:
    """How the expressions of a search are evaluated under a metric."""
    if metric is Metric.COSINE:
        return search.arithmetic
    for field, asked in (("arithmetic", search.arithmetic.scores_anew), ("explain", search.explain)):
        if asked:
            given = getattr(search, field)
            raise InvalidArgumentError(
                field, given, f"needs the cosine; this collection compares by {metric}"
            )
    return Arithmetic(normalise=False)
