"""A search on its way out: expressions evaluated, candidates found, scored, re-ranked, cut and explained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from embeddb.answers.cut import Cut, Found
from embeddb.errors import EmbeddbError
from embeddb.options import Arithmetic, Diversify
from embeddb.query import MAX_K, Metric, Search, Vector, item_ids
from embeddb.search.diversify import diversify
from embeddb.search.evaluate import evaluate
from embeddb.search.ranking import Ranking
from embeddb.search.reciprocal import reciprocal_distances
from embeddb.search.scoring import explain, score
from embeddb.search.sums import Query
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore

__all__ = ["Retrieval"]

T = TypeVar("T")

Rows = npt.NDArray[np.int64]


class Retrieval:
    """Answers one search in one space.

    Args:
        search: what is asked.
        space: where to look.
        store: the collection's storage.
        selection: the collection's filters.
        here: see `SpaceIndex.search`.

    Raises:
        InvalidArgumentError: the search's filter is none, or compares what cannot be compared; or the search
            has an option that only means something where vectors are compared by their cosine.
    """

    def __init__(
        self,
        search: Search,
        space: Space,
        store: CollectionStore,
        selection: Selection,
        *,
        here: bool = False,
    ) -> None:
        self._allowed = selection.allowed(search.filter)
        self._search = search
        self._arithmetic = _arithmetic(search, space)
        self._space = space
        self._store = store
        self._here = here

    def answer(self) -> list[Found | EmbeddbError]:
        """Answer every expression, an error in the place of each that could not be evaluated."""
        return self._each(self._answers)

    def candidates(self, count: int) -> list[Ranking | EmbeddbError]:
        """The `count` best of every expression, an error in the place of each without a value."""
        return self._each(lambda queries: self._rankings(queries, count))

    def _each(self, answer: Callable[[Mapping[int, Query]], Mapping[int, T]]) -> list[T | EmbeddbError]:
        """Answer the expressions that have a value, by their places, and put the errors in theirs."""
        outcomes = evaluate(self._search.expressions, self._space, self._arithmetic)
        queries = {place: each for place, each in enumerate(outcomes) if isinstance(each, Query)}
        answers = answer(queries)
        return [
            each if isinstance(each, EmbeddbError) else answers[place] for place, each in enumerate(outcomes)
        ]

    def _answers(self, queries: Mapping[int, Query]) -> dict[int, Found]:
        """The hits of each query, by its place."""
        search = self._search
        cut = Cut(search, self._store)
        answers: dict[int, Found] = {}
        depth = search.shortlist if search.limited else min(cut.hits, MAX_K)
        while queries:
            rankings = self._rankings(queries, depth)
            short: dict[int, Query] = {}
            for place, query in queries.items():
                ranking = self._reordered(query, rankings[place])
                found, complete = cut.page(ranking)
                answers[place] = self._explained(query, found)
                # Only groups can be too few among as many candidates as there are to be hits.
                if not complete and not search.limited and len(ranking) == depth < MAX_K:
                    short[place] = query
            queries = short
            depth = min(4 * depth, MAX_K)
        return answers

    def _rankings(self, queries: Mapping[int, Query], depth: int) -> dict[int, Ranking]:
        """The `depth` best candidates of each query; all of them are found in one call of the index."""
        if not queries:
            return {}
        arithmetic = self._arithmetic
        left_out = self._left_out(queries)
        probes = [self._probes(query) for query in queries.values()]
        deepest = depth + max(map(len, left_out.values()), default=0)
        together = probes[0] if len(probes) == 1 else np.concatenate(probes)
        scores, rows = self._nearest(together, deepest)
        if arithmetic.scores_anew:
            found = np.split(rows, np.cumsum([len(each) for each in probes])[:-1])
            rankings = [
                self._scored(*each) for each in zip(queries.values(), map(np.unique, found), strict=True)
            ]
        else:
            rankings = Ranking.of_each(rows, scores)
        return {
            place: ranking.without(left_out.get(place, ())).part(0, depth)
            for place, ranking in zip(queries, rankings, strict=True)
        }

    def _left_out(self, places: Iterable[int]) -> dict[int, set[int]]:
        """The rows of the items that the expressions at these places name, where they name any."""
        if self._search.include_operands:
            return {}
        expressions = self._search.expressions
        named = {
            place: item_ids(expressions[place])
            for place in places
            if not isinstance(expressions[place], Vector)
        }
        if not named:
            return {}
        ids = list(dict.fromkeys(item_id for each in named.values() for item_id in each))
        rows = dict(zip(ids, self._store.rows(ids), strict=True)) if ids else {}
        return {
            place: {row for item_id in each if (row := rows[item_id]) is not None}
            for place, each in named.items()
            if each
        }

    def _probes(self, query: Query) -> npt.NDArray[np.float32]:
        if self._space.metric is Metric.COSINE:
            return query.probes(self._arithmetic.combine)
        return query.sum[np.newaxis]

    def _nearest(self, probes: npt.NDArray[np.float32], depth: int) -> tuple[npt.NDArray[np.float32], Rows]:
        """The `depth` nearest rows of each probe.

        Which of many equals those are does not depend on the depth, or pages would overlap: it is asked for
        more until all that have the score of the last one are known.
        """
        asked = depth + 1
        while True:
            scores, rows = self._space.nearest(
                probes, asked, self._allowed, self._search.effort, here=self._here
            )
            # As lists: numpy takes longer to compare two numbers, and there are two for each probe.
            ends = zip(
                scores[:, depth - 1].tolist(), scores[:, -1].tolist(), rows[:, -1].tolist(), strict=True
            )
            if not any(kept == beyond and row >= 0 for kept, beyond, row in ends):
                return scores[:, :depth], rows[:, :depth]
            asked *= 2

    def _scored(self, query: Query, rows: Rows) -> Ranking:
        living, items = self._space.placed(rows[rows >= 0].tolist(), self._arithmetic)
        return Ranking.best_first(living, score(query, items, self._arithmetic.combine))

    def _reordered(self, query: Query, ranking: Ranking) -> Ranking:
        """The candidates in the order that the search asks for."""
        rerank = self._search.rerank
        if rerank is None or not len(ranking):
            return ranking
        living, items = self._space.placed(ranking.rows.tolist(), self._arithmetic)
        ranking = ranking.only(living)
        if isinstance(rerank, Diversify):
            return ranking.in_order(diversify(ranking.scores, items, rerank.weight))
        distances = reciprocal_distances(query.vector.astype(np.float64), items, rerank)
        return ranking.in_order(np.argsort(distances, kind="stable"))

    def _explained(self, query: Query, found: Found) -> Found:
        if not self._search.explain or not found.rows:
            return found
        living, items = self._space.placed(found.rows, self._arithmetic)
        explanations = dict(
            zip(living.tolist(), explain(query, items, self._arithmetic.combine), strict=True)
        )
        kept = found.only([place for place, row in enumerate(found.rows) if row in explanations])
        return kept._replace(explanations=[explanations[row] for row in kept.rows])


def _arithmetic(search: Search, space: Space) -> Arithmetic:
    """How the expressions of a search are evaluated under a space's metric."""
    if space.metric is Metric.COSINE:
        return search.arithmetic
    needs_angles = {
        "arithmetic": search.arithmetic.scores_anew,
        "explain": search.explain,
        "rerank": search.rerank is not None,
    }
    for field, asked in needs_angles.items():
        if asked:
            space.need_cosine(field, getattr(search, field))
    return Arithmetic(normalise=False)
