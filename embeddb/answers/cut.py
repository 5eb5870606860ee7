"""A ranking -> the hits of one page: those above a threshold, in groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from embeddb.answers.labels import labels
from embeddb.query import Contribution, Search
from embeddb.search.fields import Label
from embeddb.search.groups import grouped
from embeddb.search.ranking import Ranking
from embeddb.storage import CollectionStore

__all__ = ["Cut", "Found"]


class Found(NamedTuple):
    """The hits of an expression before their items are read, column by column; see `HitColumns`."""

    rows: Sequence[int] = ()
    scores: Sequence[float] = ()
    explanations: Sequence[tuple[Contribution, ...]] = ()
    groups: Sequence[Label | None] = ()
    models: Sequence[str] = ()

    def only(self, places: Sequence[int]) -> Found:
        """The hits at these places."""
        return Found._make([column[place] for place in places] if column else () for column in self)

    @classmethod
    def joined(cls, each: Sequence[Found]) -> Found:
        """The hits of several, which have the same columns, one behind the other; of one, that one itself."""
        if len(each) == 1:
            return each[0]
        return cls(*map(list, map(chain.from_iterable, zip(*each, strict=True))))


class Cut:
    """Cuts the rankings of one search.

    Args:
        search: what is asked.
        store: where groups are read.

    Attributes:
        hits: how many candidates a page needs at least.
    """

    def __init__(self, search: Search, store: CollectionStore) -> None:
        self._search = search
        self._store = store
        self._stop = search.offset + search.k
        self.hits = self._stop * (search.group.size if search.group else 1)

    def page(self, ranking: Ranking) -> tuple[Found, bool]:
        """Cut the page out of a ranking.

        Returns:
            The hits, and whether more candidates would give the same.
        """
        start, stop = self._search.offset, self._stop
        kept = ranking if self._search.min_score is None else ranking.at_least(self._search.min_score)
        group = self._search.group
        if group is None:
            part = kept.part(start, stop)
            return Found(part.rows.tolist(), part.scores.tolist()), True
        rows, scores = kept.rows.tolist(), kept.scores.tolist()
        values = labels(self._store, rows, group.field)
        groups = grouped(values, group.size)
        full = len(groups) >= stop and all(len(places) == group.size for places in groups[start:stop])
        found = Found(rows, scores, groups=values).only(list(chain.from_iterable(groups[start:stop])))
        return found, full or len(kept) < len(ranking)
