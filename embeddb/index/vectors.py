"""The vectors of a space in memory, in the order they came, with marks on the dead."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddb.errors import DataLossError
from embeddb.index.coming import Coming, Source, ahead
from embeddb.index.metric import prepared
from embeddb.query import Metric

__all__ = ["GROWTH", "Allowed", "Moment", "Vectors", "roomy"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Kept = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]

FIRST_CAPACITY = 1024
# Pages that were never touched take no memory, so that room is cheap. Copies are not: what was copied stays
# in memory while somebody reads it, and an index is built from it for minutes. So there is room for four
# times as many up to so much, and then for all that the machine's memory holds.
GROWTH, MOST_GROWTH = 1.5, 4
CHEAP_BYTES = 1 << 30
# Linux refuses what is more than all of its memory.
MOST_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8 * 7
MAX_ROWS_A_PLACE = 16
UNIT_LENGTH = 1.001
"""No vector of unit length is longer, once it was rounded to float16."""


@dataclass(frozen=True, eq=False)
class Allowed:
    """The places that a search may find.

    Attributes:
        bits: a bit a place, the lowest bit of a byte first; there may be more bits than places.
        count: of the places that are allowed.
    """

    bits: Bits
    count: int

    def mask(self, start: int, end: int) -> Mask:
        """(end - start,) bool: whether each place from one to another, not included, is allowed."""
        first = start & ~7
        bits = np.unpackbits(self.bits[first >> 3 :], count=end - first, bitorder="little")
        return bits[start - first :].view(np.bool_)

    def since(self, place: int) -> Allowed:
        """The same of the places from one on, which is the first of them then; a copy, unless it is all."""
        if place == 0:
            return self
        mask = self.mask(place, 8 * len(self.bits))
        return Allowed(np.packbits(mask, bitorder="little"), int(np.count_nonzero(mask)))


@dataclass(frozen=True, eq=False)
class Moment:
    """The places filled so far, as a search sees them while more are added and others die.

    Attributes:
        rows: (n,) int64, ascending.
        kept: (n, d) float32 or float16, prepared for the metric: the vectors that are here.
        bias: (n,) float32, what the scan adds to inner products; None where that is nothing.
        living: those that are alive.
        length: of the longest vector that is here.
        coming: the vectors of the first places, as long as they are not all here.
    """

    metric: Metric
    rows: Rows
    kept: Kept
    bias: Floats | None
    living: Allowed
    length: float
    coming: Coming | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def vectors(self) -> Kept:
        """(n, d): all of them; whoever asks waits until they are here."""
        return self.since(0)

    def since(self, place: int) -> Kept:
        """The vectors (n - place, d) from a place on; whoever asks waits until they are here."""
        if self.coming is not None and place < self.coming.count:
            self.coming.wait()
        return self.kept[place:]

    @property
    def is_whole(self) -> bool:
        """Whether all vectors are here, in float32."""
        return self.coming is None and self.kept.dtype == np.float32

    def take(self, places: Places) -> Floats:
        """The vectors (..., d) float32 of a few places (...), without waiting for others.

        For a place of -1 they are any, and not a number where storage does not have them any more.
        """
        if self.coming is None:
            return self.kept.take(places, axis=0).astype(np.float32, copy=False)
        found = np.zeros((*places.shape, self.kept.shape[1]), np.float32)
        here = places >= self.coming.count
        found[here] = self.kept[places[here]]
        absent = (places >= 0) & ~here
        found[absent] = self._read(self.coming.source, self.rows[places[absent]])
        return found

    def _read(self, source: Source, rows: Rows) -> Floats:
        """Vectors (n, d) as they will be kept."""
        stored = source.read(rows)
        known = np.array([row in stored for row in rows.tolist()], np.bool_)
        vectors = np.full((len(rows), self.kept.shape[1]), np.nan, np.float32)
        if len(stored):
            read = prepared(self.metric, np.stack([stored[row] for row in rows[known].tolist()]))
            vectors[known] = read.astype(self.kept.dtype, copy=False)
        return vectors

    @property
    def longest(self) -> float:
        """The length of the longest vector."""
        return self.length if self.coming is None else max(self.length, self.coming.longest)

    @property
    def dead(self) -> int:
        """How many of the places are dead."""
        return len(self.rows) - self.living.count

    def living_places(self) -> Places:
        """The places that are alive, ascending."""
        return np.flatnonzero(self.living.mask(0, len(self)))

    def are_living(self, places: Places) -> Mask:
        """Whether each of some places, of any shape, is alive; -1 is not."""
        alive: Mask = ((self.living.bits[places >> 3] & _bit(places)) != 0) & (places >= 0)
        return alive

    def allowed(self, rows: Rows | None) -> Allowed | None:
        """The living places of some rows, or of all; None where that is every place."""
        if rows is None:
            return self.living if self.dead else None
        mask = self.mask(rows)
        if self.dead:
            mask &= self.living.mask(0, len(self))
        return Allowed(np.packbits(mask, bitorder="little"), int(np.count_nonzero(mask)))

    def until(self, n: int) -> Moment:
        """The first n places alone."""
        bias = None if self.bias is None else self.bias[:n]
        living = Allowed(self.living.bits, int(np.count_nonzero(self.living.mask(0, n))))
        return replace(self, rows=self.rows[:n], kept=self.kept[:n], bias=bias, living=living)

    def places(self, rows: Rows) -> Places:
        """The places of those rows that are here and alive, ascending as the rows do."""
        places = _places_of(self.rows, rows)
        living: Places = places[self.are_living(places)]
        return living

    def mask(self, rows: Rows) -> Mask:
        """(n,) bool: whether each place's row is among these."""
        if not len(self):
            return np.zeros(0, np.bool_)
        first, last = int(self.rows[0]), int(self.rows[-1])
        if last - first >= MAX_ROWS_A_PLACE * len(self):
            mask = np.zeros(len(self), np.bool_)
            mask[_places_of(self.rows, rows)] = True
            return mask
        # Where most rows are here, a table of all of them is twenty times faster than bisection.
        table = np.zeros(last - first + 1, np.bool_)
        start, end = np.searchsorted(rows, [first, last + 1])
        table[rows[start:end] - first] = True
        found: Mask = table[self.rows - first]
        return found

    def part(self, places: Places) -> Moment:
        """Some of the places alone, as if they were all, and all alive; a copy."""
        vectors = self.vectors[places]
        bias = None if self.bias is None else self.bias[places]
        living = Allowed(np.full(len(places) // 8 + 1, 255, np.uint8), len(places))
        return Moment(self.metric, self.rows[places], vectors, bias, living, self.longest)


class Vectors:
    """Places that are filled in order and never moved. One thread changes them; any may read their moments.

    Rows come in ascending order, so the place of a row is found by bisection. The first places may be
    expected: known by their rows, while their vectors are received on a thread of its own.

    Args:
        metric: that the vectors are prepared for.
        dimension: of all vectors.
        dtype: that they are kept in, float32 or float16.
        capacity: how many are expected; more find room too.
    """

    def __init__(self, metric: Metric, dimension: int, dtype: npt.DTypeLike, capacity: int = 0) -> None:
        self.metric = metric
        self.dimension = dimension
        self.dtype = np.dtype(dtype)
        self.count = 0
        self.dead = 0
        self._longest = UNIT_LENGTH if metric is Metric.COSINE else 0.0
        self._rows: Rows = np.empty(0, np.int64)
        self._vectors: Kept = np.empty((0, dimension), self.dtype)
        self._bias: Floats | None = np.empty(0, np.float32) if metric is Metric.L2 else None
        self._alive: Bits = np.zeros(0, np.uint8)
        self._coming: Coming | None = None
        self._grow(max(capacity, FIRST_CAPACITY))

    @property
    def living(self) -> int:
        """How many places are alive."""
        return self.count - self.dead

    @property
    def room(self) -> int:
        """How many places can be filled before all have to be copied."""
        return len(self._rows) - self.count

    def append(self, rows: Rows, vectors: Floats) -> None:
        """Fill the next places, one at least; while others are received, no more than there is room for.

        Args:
            rows: (n,) int64, ascending, all beyond those that are here.
            vectors: (n, dimension) float32, prepared for the metric.
        """
        end = self.count + len(rows)
        if end > len(self._rows):
            self._grow(end)
        self._rows[self.count : end] = rows
        places = np.arange(self.count, end)
        self._longest = max(self._longest, self._put(places, vectors))
        np.bitwise_or.at(self._alive, places >> 3, _bit(places))
        self.count = end

    def expect(self, rows: Rows, dead: Mask, source: Source) -> None:
        """Have rows in the first places, whose vectors are to be received; there is room for them.

        Args:
            rows: (n,) int64, ascending.
            dead: (n,) bool: which of them are dead.
            source: has their vectors.
        """
        self._rows[: len(rows)] = rows
        alive = np.packbits(~dead, bitorder="little")
        self._alive[: len(alive)] = alive
        self.count = len(rows)
        self.dead = int(np.count_nonzero(dead))
        self._coming = Coming(source, len(rows))

    def begin(self) -> Coming:
        """What is to be received; if it failed before, those who ask for it now wait again."""
        assert self._coming is not None
        if self._coming.over:
            self._coming = Coming(self._coming.source, self._coming.count)
        return self._coming

    def receive(self, coming: Coming, go_on: Callable[[], bool]) -> Rows | None:
        """Put the vectors that are expected in their places; others may append meanwhile.

        Returns:
            The expected rows that did not come (n,) int64: they are damaged, or were deleted meanwhile. None
            where `go_on` ended it.

        Raises:
            DataLossError: the source has rows between the first and the last that are not expected.
        """
        rows = self._rows[: coming.count]
        living = self.moment().living.mask(0, coming.count)
        absent = np.ones(coming.count, np.bool_)
        for found, vectors in ahead(coming.source.scan()):
            if not go_on():
                return None
            # Those that were added meanwhile are not expected.
            known = found[: np.searchsorted(found, rows[-1], side="right")]
            places = _places_of(rows, known)
            if len(places) < len(known):
                raise DataLossError(f"storage has {len(known) - len(places):,} rows more than were expected")
            length = self._put(places, prepared(self.metric, vectors[: len(places)]))
            coming.longest = max(coming.longest, length)
            absent[places] = False
            if found[-1] >= rows[-1]:
                break
        self._vectors[: coming.count][absent] = 0
        lost: Rows = rows[absent & living]
        return lost

    def complete(self, lost: Rows) -> None:
        """Expect nothing any more, and bury the rows that did not come."""
        assert self._coming is not None
        self._longest = max(self._longest, self._coming.longest)
        self._coming = None
        self.bury(lost)

    def bury(self, rows: Rows) -> None:
        """Mark rows as dead; those that are not here, or dead already, are passed over."""
        places = self.moment().places(np.unique(rows))
        # A copy, so that a search sees all of an update or nothing; it is an eighth of a byte a place. Of
        # what only has room, nothing is touched.
        alive, used = np.zeros_like(self._alive), self.count // 8 + 1
        alive[:used] = self._alive[:used]
        np.bitwise_and.at(alive, places >> 3, ~_bit(places))
        self._alive = alive
        self.dead += len(places)

    def _put(self, places: Places, vectors: Floats) -> float:
        """Set the vectors of places; returns the length of the longest, which is known of unit vectors."""
        if not len(places):
            return 0.0
        first, end = int(places[0]), int(places[-1]) + 1
        # A stretch of places is several times faster to fill than as many places one by one.
        where = slice(first, end) if end - first == len(places) else places
        self._vectors[where] = vectors
        if self.metric is Metric.COSINE:
            return UNIT_LENGTH
        kept = self._vectors[where].astype(np.float32, copy=False)
        squares = np.einsum("nd,nd->n", kept, kept)
        if self._bias is not None:
            self._bias[where] = -squares / 2
        return float(np.sqrt(squares.max()))

    def moment(self) -> Moment:
        """All places as they are now."""
        n = self.count
        bias = None if self._bias is None else self._bias[:n]
        living = Allowed(self._alive[: n // 8 + 1], self.living)
        return Moment(
            self.metric, self._rows[:n], self._vectors[:n], bias, living, self._longest, self._coming
        )

    def _grow(self, needed: int) -> None:
        n = self.count
        # Not zeros, for which numpy asks for no large pages: to fill small ones takes a start a third longer.
        vectors = roomy(needed, self.dimension, self.dtype)
        capacity = len(vectors)
        vectors[:n] = self._vectors[:n]
        rows, alive = np.empty(capacity, np.int64), np.zeros(capacity // 8 + 1, np.uint8)
        rows[:n] = self._rows[:n]
        alive[: len(self._alive)] = self._alive
        if self._bias is not None:
            bias = np.empty(capacity, np.float32)
            bias[:n] = self._bias[:n]
            self._bias = bias
        self._rows, self._vectors, self._alive = rows, vectors, alive


def roomy(needed: int, width: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Room for those places that are needed now, and for more: (n, width), of any numbers."""
    dtype = np.dtype(dtype)
    try:
        return np.empty((grown(needed, width * dtype.itemsize), width), dtype)
    except MemoryError:
        # The system promises only what it has, or the process may not have so much.
        return np.empty((int(GROWTH * needed), width), dtype)


def grown(needed: int, size: int) -> int:
    """How many places to make room for where so many are needed, of `size` bytes each."""
    if needed * size < CHEAP_BYTES:
        return min(MOST_GROWTH * needed, needed + CHEAP_BYTES // size)
    return max(int(GROWTH * needed), MOST_BYTES // size)


def _places_of(known: Rows, rows: Rows) -> Places:
    """Where rows stand among known ones, which ascend; those that are not among them are left out."""
    places = np.searchsorted(known, rows)
    inside = places < len(known)
    places, rows = places[inside], rows[inside]
    found: Places = places[known[places] == rows]
    return found


def _bit(places: Places) -> Bits:
    """The bit of each place within its byte."""
    return np.left_shift(np.uint8(1), (places & 7).astype(np.uint8))
