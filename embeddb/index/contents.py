"""What a space's index holds: its vectors, their codes, and an approximate index over the first of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embeddb.index.approximate import Approximate
from embeddb.index.codes import CodeMoment, Codes
from embeddb.index.vectors import Moment, Vectors

__all__ = ["Contents", "State"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a search reads; replaced as a whole, so that no search waits for a change.

    Attributes:
        moment: all places.
        codes: of the places that the approximate index does not have.
        approximate: has the places before the first one that has a code; None where there is none.
        sequence: of the last commit that is reflected.
    """

    moment: Moment
    codes: CodeMoment
    approximate: Approximate | None
    sequence: int


class Contents:
    """Changes the state, one change at a time. Thread-safe.

    Args:
        vectors: those to begin with.
        approximate: over the first of them, if there is one.
        sequence: of the last commit that they reflect.

    Attributes:
        state: as it is now.
    """

    state: State

    def __init__(self, vectors: Vectors, approximate: Approximate | None = None, sequence: int = 0) -> None:
        self._lock = threading.Lock()
        self._sequence = sequence
        self._set(vectors, approximate)

    def update(self, rows: Rows, vectors: Floats, removed: Rows, sequence: int) -> None:
        """Add rows and take others out, in one step for every search; see `SpaceIndex.update`.

        Args:
            vectors: (n, dimension) float32, prepared.
        """
        with self._lock:
            if len(rows):
                self._vectors.append(rows, vectors)
                # All that have none: an update that failed half way, for want of memory, left some without.
                uncoded = self._codes.first + len(self._codes)
                self._codes.append(self._vectors.moment().vectors[uncoded:])
            if len(removed):
                self._vectors.bury(removed)
            self._sequence = sequence
            self._publish()

    def cover(self, approximate: Approximate | None) -> None:
        """Let an approximate index, or none, stand for all the places that it has by now."""
        with self._lock:
            self._set(self._vectors, approximate)

    def replace(self, moment: Moment, vectors: Vectors, approximate: Approximate | None) -> None:
        """Put vectors that were made of a moment, and an index over them, in the place of what is here.

        Args:
            moment: one of these contents.
            vectors: its living; they are brought up to what is here now.
        """
        with self._lock:
            now = self._vectors.moment()
            since = len(moment)
            if len(now) > since:
                vectors.append(now.rows[since:], now.vectors[since:])
            vectors.bury(now.rows[~now.living.mask(0, len(now))])
            self._set(vectors, approximate)

    def _set(self, vectors: Vectors, approximate: Approximate | None) -> None:
        first = 0 if approximate is None else len(approximate)
        self._vectors = vectors
        self._codes = Codes(first, vectors.moment().vectors[first:])
        self._approximate = approximate
        self._publish()

    def _publish(self) -> None:
        self.state = State(self._vectors.moment(), self._codes.moment(), self._approximate, self._sequence)
