"""Hits column by column: what a batch of searches found, before an object is made of each hit.

To make ten objects for each query takes longer than to find what they say; on the wire they are columns too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, overload

from embeddb.errors import EmbeddbError
from embeddb.query.columns import ItemColumns
from embeddb.query.search import Contribution, Hit

__all__ = ["HitColumns", "Hits"]

_SHOWN = 5


@dataclass(eq=False)
class HitColumns:
    """The hits of a batch of expressions, those of one behind those of the one before; see `Hit`.

    Not frozen, as its items: each lone search makes one.

    Attributes:
        outcomes: one an expression: how many hits it has, or why it could not be evaluated.
        items: one a hit.
        scores: one a hit.
        explanations: one a hit, or empty where none were asked for.
        groups: one a hit, or empty where hits are not grouped.
        models: one a hit, or empty where spaces were not searched side by side.
    """

    outcomes: Sequence[int | EmbeddbError]
    items: ItemColumns
    scores: Sequence[float]
    explanations: Sequence[Sequence[Contribution]] = ()
    groups: Sequence[str | float | bool | None] = ()
    models: Sequence[str] = ()

    def each(self) -> Iterator[HitColumns]:
        """The hits of each expression by themselves."""
        for outcome, start, stop in self._places():
            yield self.part(start, stop, outcome)

    def part(self, start: int, stop: int, outcome: int | EmbeddbError) -> HitColumns:
        """Those from one place to another, not included, as what was found for one expression."""
        of = slice(start, stop)
        return HitColumns(
            [outcome],
            self.items.part(start, stop),
            self.scores[of],
            self.explanations[of],
            self.groups[of],
            self.models[of],
        )

    def hits(self) -> list[Hits | EmbeddbError]:
        """Those of each expression by themselves, of which no object is made yet."""
        return [
            outcome if isinstance(outcome, EmbeddbError) else Hits.of(self, start, stop)
            for outcome, start, stop in self._places()
        ]

    def objects(self) -> Iterator[Hit]:
        """An object for each hit."""
        return map(
            Hit,
            self.items.items(),
            self.scores,
            self.explanations or repeat(()),
            self.groups or repeat(None),
            self.models or repeat(None),
        )

    def _places(self) -> Iterator[tuple[int | EmbeddbError, int, int]]:
        """What became of each expression, and from where to where its hits are."""
        start = 0
        for outcome in self.outcomes:
            stop = start if isinstance(outcome, EmbeddbError) else start + outcome
            yield outcome, start, stop
            start = stop


class Hits(Sequence[Hit]):
    """The hits of one expression, in their order.

    A sequence that does not change, and equals a list of the same hits. `ids`, `scores`, how many there are
    and how they print come from the columns in which they arrived. The objects are made when one of them is
    first asked for, all at once, and kept: `hits[0]` is always the same. (Threads that ask first at the same
    moment may get objects of their own, equal in all they say.) `+` makes a list, as of lists.

    Each `Hits` keeps the columns of its whole batch in memory; a `Hit` keeps its own item alone.

    Args:
        hits: objects that are there already.
    """

    __slots__ = ("_columns", "_hits", "_ids", "_scores", "_start", "_stop")

    # What the three below are read from; not there where they were given.
    _columns: HitColumns
    _hits: tuple[Hit, ...] | None
    _ids: tuple[str, ...] | None
    _scores: tuple[float, ...] | None

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        self._hits = made = tuple(hits)
        self._ids = tuple([hit.id for hit in made])
        self._scores = tuple([hit.score for hit in made])
        self._start, self._stop = 0, len(made)

    @classmethod
    def of(cls, columns: HitColumns, start: int, stop: int) -> Hits:
        """Those of columns from one place to another, not included."""
        hits = cls.__new__(cls)
        hits._columns = columns
        hits._start = start
        hits._stop = stop
        hits._hits = hits._ids = hits._scores = None
        return hits

    @property
    def ids(self) -> tuple[str, ...]:
        """One a hit."""
        if self._ids is None:
            self._ids = tuple(self._columns.items.ids[self._start : self._stop])
        return self._ids

    @property
    def scores(self) -> tuple[float, ...]:
        """One a hit, as they were found: similarities, larger is nearer, for every metric."""
        if self._scores is None:
            self._scores = tuple(self._columns.scores[self._start : self._stop])
        return self._scores

    def _objects(self) -> tuple[Hit, ...]:
        hits = self._hits
        if hits is None:
            hits = self._hits = tuple(self._columns.part(self._start, self._stop, len(self)).objects())
        return hits

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._objects())

    @overload
    def __getitem__(self, key: int) -> Hit: ...
    @overload
    def __getitem__(self, key: slice) -> Hits: ...
    def __getitem__(self, key: int | slice) -> Hit | Hits:
        # The hits of a slice are these very objects, as of a list, so it has to make them.
        return Hits(self._objects()[key]) if isinstance(key, slice) else self._objects()[key]

    def __add__(self, other: Sequence[Hit]) -> list[Hit]:
        return [*self, *other] if isinstance(other, (list, Hits)) else NotImplemented

    def __radd__(self, other: list[Hit]) -> list[Hit]:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, Hits)):
            return NotImplemented
        return len(self) == len(other) and self._objects() == tuple(other)

    # As a list has none.
    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Hits, (self._objects(),)

    def __repr__(self) -> str:
        pairs = zip(self.ids[:_SHOWN], self.scores, strict=False)
        shown = [f"{item_id!r} {score:.4f}" for item_id, score in pairs]
        if len(self) > _SHOWN:
            shown.append(f"{len(self) - _SHOWN:,} more")
        return f"Hits({', '.join(shown) or 'none'})"
