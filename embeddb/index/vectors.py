"""The vectors of a space in memory, in the order they came, with marks on the dead."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from embeddb.errors import DataLossError
from embeddb.query import Metric

__all__ = ["Moment", "Vectors"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]

FIRST_CAPACITY = 1024
GROWTH = 1.5
MAX_ROWS_A_PLACE = 16


@dataclass(frozen=True, eq=False)
class Moment:
    """The places filled so far, as a search sees them while more are added and others die.

    Attributes:
        rows: (n,) int64, ascending.
        vectors: (n, d) float32, prepared for the metric.
        bias: (n,) float32, what the scan adds to inner products; None where that is nothing.
        alive: a bit a place, the lowest bit of a byte first; there may be more bits than places.
        dead: how many of the places are dead.
        longest: the length of the longest vector.
    """

    metric: Metric
    rows: Rows
    vectors: torch.Tensor
    bias: torch.Tensor | None
    alive: Bits
    dead: int
    longest: float

    def __len__(self) -> int:
        return len(self.rows)

    def living(self, first: int = 0) -> npt.NDArray[np.bool_]:
        """(n - first,) bool: whether each place from `first` on is alive."""
        start = first & ~7
        bits = np.unpackbits(self.alive[start >> 3 :], count=len(self) - start, bitorder="little")
        return bits[first - start :].view(np.bool_)

    def until(self, n: int) -> Moment:
        """The first n places alone."""
        bias = None if self.bias is None else self.bias[:n]
        return replace(self, rows=self.rows[:n], vectors=self.vectors[:n], bias=bias)

    def places(self, rows: Rows) -> Places:
        """The places of those rows that are here and alive, ascending as the rows do."""
        places = _places_of(self.rows, rows)
        living: Places = places[(self.alive[places >> 3] & _bit(places)) != 0]
        return living

    def mask(self, rows: Rows) -> npt.NDArray[np.bool_]:
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
        found: npt.NDArray[np.bool_] = table[self.rows - first]
        return found

    def part(self, places: Places) -> Moment:
        """Some of the places alone, as if they were all, and all alive; a copy."""
        chosen = torch.from_numpy(places)
        bias = None if self.bias is None else self.bias[chosen]
        alive = np.full(len(places) // 8 + 1, 255, np.uint8)
        return Moment(self.metric, self.rows[places], self.vectors[chosen], bias, alive, 0, self.longest)


class Vectors:
    """Places that are filled in order and never moved. One thread changes them; any may read their moments.

    Rows come in ascending order, so the place of a row is found by bisection.

    Args:
        metric: that the vectors are prepared for.
        dimension: of all vectors.
        capacity: how many are expected; more find room too.
    """

    def __init__(self, metric: Metric, dimension: int, capacity: int = 0) -> None:
        self.metric = metric
        self.dimension = dimension
        self.count = 0
        self.dead = 0
        self._longest = 0.0
        self._rows: Rows = np.empty(0, np.int64)
        self._vectors = torch.empty((0, dimension))
        self._bias = torch.empty(0) if metric is Metric.L2 else None
        self._alive: Bits = np.zeros(0, np.uint8)
        self._grow(max(capacity, FIRST_CAPACITY))

    @property
    def living(self) -> int:
        """How many places are alive."""
        return self.count - self.dead

    def append(self, rows: Rows, vectors: Floats) -> None:
        """Fill the next places, one at least.

        Args:
            rows: (n,) int64, ascending, all beyond those that are here.
            vectors: (n, dimension) float32, prepared for the metric.
        """
        end = self.count + len(rows)
        if end > len(self._rows):
            self._grow(max(end, int(len(self._rows) * GROWTH)))
        self._rows[self.count : end] = rows
        self._put(np.arange(self.count, end), torch.from_numpy(vectors))
        self.count = end

    def reserve(self, rows: Rows) -> None:
        """Fill the first places with rows (n,) int64, ascending, which are dead until they are revived."""
        self._grow(max(len(rows), len(self._rows)))
        self._rows[: len(rows)] = rows
        self.count = self.dead = len(rows)

    def revive(self, rows: Rows, vectors: Floats) -> None:
        """Let reserved rows live, and append those that are beyond them.

        Args:
            rows: (n,) int64, ascending, n > 0.
            vectors: (n, dimension) float32, prepared for the metric.

        Raises:
            DataLossError: a row is neither reserved nor beyond.
        """
        known = int(np.searchsorted(rows, self._rows[self.count - 1], side="right")) if self.count else 0
        places = _places_of(self._rows[: self.count], rows[:known])
        if len(places) < known:
            raise DataLossError(f"{known - len(places):,} of the rows that storage has are not among its own")
        self._put(places, torch.from_numpy(vectors[:known]))
        self.dead -= known
        if known < len(rows):
            self.append(rows[known:], vectors[known:])

    def bury(self, rows: Rows) -> None:
        """Mark rows as dead; those that are not here, or dead already, are passed over."""
        places = self.moment().places(np.unique(rows))
        # A copy, so that a search sees all of an update or nothing; it is an eighth of a byte a place.
        self._alive = self._alive.copy()
        np.bitwise_and.at(self._alive, places >> 3, ~_bit(places))
        self.dead += len(places)

    def _put(self, places: Places, vectors: torch.Tensor) -> None:
        """Set the vectors of places, and let them live."""
        if not len(places):
            return
        first, end = int(places[0]), int(places[-1]) + 1
        # A stretch of places is several times faster to fill than as many places one by one.
        where = slice(first, end) if end - first == len(places) else torch.from_numpy(places)
        self._vectors[where] = vectors
        squares = vectors.square().sum(1)
        if self._bias is not None:
            self._bias[where] = -squares / 2
        self._longest = max(self._longest, float(squares.amax().sqrt()))
        np.bitwise_or.at(self._alive, places >> 3, _bit(places))

    def moment(self) -> Moment:
        """All places as they are now."""
        n = self.count
        bias = None if self._bias is None else self._bias[:n]
        return Moment(
            self.metric, self._rows[:n], self._vectors[:n], bias, self._alive, self.dead, self._longest
        )

    def _grow(self, capacity: int) -> None:
        # Pages that were never touched take no memory, so room that is not used costs nothing.
        n = self.count
        rows, vectors, alive = self._rows, self._vectors, self._alive
        self._rows = np.empty(capacity, np.int64)
        self._rows[:n] = rows[:n]
        self._vectors = torch.from_numpy(np.zeros((capacity, self.dimension), np.float32))
        self._vectors[:n] = vectors[:n]
        self._alive = np.zeros(capacity // 8 + 1, np.uint8)
        self._alive[: len(alive)] = alive
        if self._bias is not None:
            self._bias = torch.cat([self._bias[:n], torch.zeros(capacity - n)])


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
