"""What became of items that were put, one by one and as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import overload

from embeddb.errors import EmbeddbError

__all__ = ["PutResult", "PutResults", "PutStatus"]


class PutStatus(StrEnum):
    """What a put did."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of one item of a batch. Where `status` is FAILED, `error` says why, and nothing changed."""

    id: str
    status: PutStatus
    error: EmbeddbError | None = None


_STATUSES = tuple(PutStatus)
_NUMBERS = {status: number for number, status in enumerate(_STATUSES)}


class PutResults(Sequence[PutResult]):
    """The results of a batch or of a whole load, one an item, in their order.

    A sequence that does not change, of objects that are made when they are asked for; it equals a list of the
    same results, and `+` puts results behind it. It holds columns of which Python's garbage collector sees
    nothing but the errors: a million objects add 50 ms to every full collection, in which all else in the
    process stands still.

    Args:
        ids: one an item.
        statuses: one an item.
        errors: why those failed that did, by their places, counted from 0.

    Attributes:
        ids: one an item.
        errors: as given.
    """

    __slots__ = ("_numbers", "errors", "ids")

    def __init__(
        self,
        ids: Iterable[str] = (),
        statuses: Iterable[PutStatus] = (),
        errors: Mapping[int, EmbeddbError] | None = None,
    ) -> None:
        # The collector soon forgets a tuple of strings; a list it would walk through each time.
        self.ids = tuple(ids)
        self._numbers = bytes(map(_NUMBERS.__getitem__, statuses))
        self.errors: Mapping[int, EmbeddbError] = {} if errors is None else dict(errors)

    @classmethod
    def of(cls, results: Iterable[PutResult]) -> PutResults:
        """Results as columns."""
        if isinstance(results, PutResults):
            return results
        listed = list(results)
        return cls(
            (each.id for each in listed),
            (each.status for each in listed),
            {place: each.error for place, each in enumerate(listed) if each.error is not None},
        )

    @classmethod
    def joined(cls, batches: Iterable[PutResults]) -> PutResults:
        """The results of batches, one behind the other."""
        parts = list(batches)
        errors: dict[int, EmbeddbError] = {}
        start = 0
        for part in parts:
            errors |= {start + place: error for place, error in part.errors.items()}
            start += len(part)
        numbers = b"".join(part._numbers for part in parts)
        return cls._of_numbers(tuple(chain.from_iterable(part.ids for part in parts)), numbers, errors)

    @classmethod
    def _of_numbers(cls, ids: tuple[str, ...], numbers: bytes, errors: dict[int, EmbeddbError]) -> PutResults:
        made = cls(ids, (), errors)
        made._numbers = numbers
        return made

    @property
    def statuses(self) -> tuple[PutStatus, ...]:
        """One an item."""
        return tuple(map(_STATUSES.__getitem__, self._numbers))

    @property
    def failed(self) -> PutResults:
        """Those that failed, each with its error."""
        failed = _NUMBERS[PutStatus.FAILED]
        return PutResults.of(self[place] for place, each in enumerate(self._numbers) if each == failed)

    def counts(self) -> Counter[PutStatus]:
        """How many items have each status."""
        numbers = Counter(self._numbers)
        return Counter({_STATUSES[number]: count for number, count in numbers.items()})

    def among(self, others: Mapping[int, PutResult]) -> PutResults:
        """These results with others between them.

        Args:
            others: by the places that they take in what is made.
        """
        if not others:
            return self
        rest = iter(self)
        count = len(self) + len(others)
        return PutResults.of(others[place] if place in others else next(rest) for place in range(count))

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[PutResult]:
        statuses = map(_STATUSES.__getitem__, self._numbers)
        return map(PutResult, self.ids, statuses, map(self.errors.get, range(len(self))))

    @overload
    def __getitem__(self, key: int) -> PutResult: ...
    @overload
    def __getitem__(self, key: slice) -> PutResults: ...
    def __getitem__(self, key: int | slice) -> PutResult | PutResults:
        if not isinstance(key, slice):
            place = range(len(self))[key]
            return PutResult(self.ids[place], _STATUSES[self._numbers[place]], self.errors.get(place))
        places = enumerate(range(len(self))[key] if self.errors else ())
        errors = {place: self.errors[before] for place, before in places if before in self.errors}
        return self._of_numbers(self.ids[key], self._numbers[key], errors)

    def __add__(self, other: Sequence[PutResult]) -> PutResults:
        if not isinstance(other, (list, PutResults)):
            return NotImplemented
        return PutResults.joined([self, PutResults.of(other)])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PutResults):
            return (self.ids, self._numbers, self.errors) == (other.ids, other._numbers, other.errors)
        return list(self) == other if isinstance(other, list) else NotImplemented

    # As a list has none.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        counts = self.counts()
        parts = [f"{counts[status]:,} {status}" for status in PutStatus if counts[status]]
        return f"PutResults({', '.join(parts) or 'none'})"
