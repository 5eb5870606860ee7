"""What a space's index holds: its vectors, their codes, and an approximate index over the first of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embeddb.errors import DataLossError, ResourceExhaustedError
from embeddb.index.approximate import Approximate
from embeddb.index.codes import CodeMoment, Codes
from embeddb.index.coming import Coming, ahead
from embeddb.index.gpu import FAULTS, Gpu
from embeddb.index.metric import prepared
from embeddb.index.vectors import Moment, Vectors

__all__ = ["Contents", "State"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


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
        name: of the space, in the log.

    Attributes:
        state: as it is now.
    """

    state: State
    _approximate: Approximate | None

    def __init__(
        self,
        vectors: Vectors,
        approximate: Approximate | None = None,
        sequence: int = 0,
        name: str = "index",
    ) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._sequence = sequence
        self._set(vectors, approximate)

    def update(self, rows: Rows, vectors: Floats, removed: Rows, sequence: int) -> Coming | None:
        """Add rows and take others out, in one step for every search; see `SpaceIndex.update`.

        Args:
            vectors: (n, dimension) float32, prepared.

        Returns:
            What has to end before there is room, where nothing was done for want of it.
        """
        with self._lock:
            coming = self.state.moment.coming
            if coming is not None and not coming.over and len(rows) > self._vectors.room:
                return coming
            if len(rows):
                self._vectors.append(rows, vectors)
                # All that have none: an update that failed half way, for want of memory, left some without.
                uncoded = self._codes.first + len(self._codes)
                try:
                    self._codes.append(self._vectors.moment().since(uncoded))
                except FAULTS as error:
                    if self._codes.gpu is None:
                        raise
                    # Where only room is wanting, there may be enough once the smaller codes are gone.
                    if not isinstance(error, ResourceExhaustedError):
                        self._codes.gpu.rest()
                    self._leave_gpu(error)
            if len(removed):
                self._vectors.bury(removed)
            self._sequence = sequence
            self._publish()
            return None

    def wait(self) -> None:
        """Return when the vectors that are coming are here, and those that did not come are buried.

        Raises:
            UnavailableError: they could not be read.
            DeadlineExceededError, CancelledError: nobody waits for the answer any more.
        """
        if (coming := self.state.moment.coming) is not None:
            coming.wait()

    def receive(self, go_on: Callable[[], bool], unfit: Callable[[DataLossError], None]) -> None:
        """Read the vectors that are coming; to be called on the thread that calls `cover` and `replace`.

        Args:
            go_on: whether to.
            unfit: told why, where storage has rows that the approximate index should have and has not. There
                is none then, and what storage has is scanned.

        Raises:
            Exception: whatever storage raises; it may be called again, and begins anew.
        """
        with self._lock:
            coming = self._vectors.begin()
            self._publish()
        failure = f"{self._name} is closed"
        try:
            if self._received(coming, go_on, unfit):
                failure = ""
        except Exception as error:
            failure = f"{self._name}: not all vectors could be read from storage: {error}"
            raise
        finally:
            coming.end(failure)

    def _received(
        self, coming: Coming, go_on: Callable[[], bool], unfit: Callable[[DataLossError], None]
    ) -> bool:
        """Receive; whether all are here, for `go_on` may have ended it."""
        try:
            lost = self._vectors.receive(coming, go_on)
        except DataLossError as error:
            unfit(error)
            return self._read_anew(coming, go_on)
        if lost is None:
            return False
        with self._lock:
            self._vectors.complete(lost)
            self._publish()
        return True

    def _read_anew(self, coming: Coming, go_on: Callable[[], bool]) -> bool:
        """Put what storage has in the place of what was expected; whether all is here."""
        expected = self.state.moment.until(coming.count)
        vectors = Vectors(expected.metric, self._vectors.dimension, self._vectors.dtype, len(expected))
        for rows, batch in ahead(coming.source.scan()):
            if not go_on():
                return False
            end = int(np.searchsorted(rows, expected.rows[-1], side="right"))
            if end:
                vectors.append(rows[:end], prepared(expected.metric, batch[:end]))
            if end < len(rows):
                break
        self.replace(expected, vectors, None)
        return True

    def give_up(self) -> None:
        """Let those go on who wait for vectors that nobody will read any more."""
        coming = self.state.moment.coming
        if coming is not None and not coming.over:
            coming.end(f"{self._name} is closed")

    def place(self, gpu: Gpu) -> None:
        """Put codes of all places on a GPU; they stand for an approximate index too, if there is one.

        To be called on the thread that calls `cover` and `replace`.

        Raises:
            FAULTS: all stays as it was.
        """
        codes = Codes(0, self.state.moment.vectors, gpu)
        with self._lock:
            since = self._vectors.moment().since(len(codes))
            if len(since):
                codes.append(since)
            self._codes = codes
            self._approximate = None
            self._publish()

    def fault(self, codes: CodeMoment, error: Exception) -> None:
        """Have codes in the processor's memory, where those on the GPU could not be searched."""
        with self._lock:
            # Another search, or an update, may have met the same.
            if self._codes.gpu is not None and self._codes.gpu is codes.gpu:
                self._codes.gpu.rest()
                self._leave_gpu(error)
                self._publish()

    def close(self) -> None:
        """Let go of the memory that it takes, on a GPU too; nothing is searched any more.

        Who holds it may be found by Python's search for garbage alone, which may be a long time off.
        """
        with self._lock:
            if self._approximate is not None:
                self._approximate.copy.leave()
            vectors = self._vectors
            self._set(Vectors(vectors.metric, vectors.dimension, vectors.dtype), None)

    def cover(self, approximate: Approximate | None) -> None:
        """Let an approximate index, or none, stand for all the places that it has by now."""
        with self._lock:
            if approximate is None or self._codes.gpu is not None or self._codes.first > len(approximate):
                self._set(self._vectors, approximate)
                return
            self._codes.drop_before(len(approximate))
            self._approximate = approximate
            self._publish()

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
                vectors.append(now.rows[since:], now.since(since))
            vectors.bury(now.rows[~now.living.mask(0, len(now))])
            self._set(vectors, approximate)

    def _set(self, vectors: Vectors, approximate: Approximate | None) -> None:
        first = 0 if approximate is None else len(approximate)
        self._vectors = vectors
        self._codes = Codes(first, vectors.moment().since(first))
        self._approximate = approximate
        self._publish()

    def _leave_gpu(self, error: Exception) -> None:
        log.warning("%s: codes leave %s, and the processor serves: %s", self._name, self._codes.gpu, error)
        self._codes = Codes(self._codes.first, self._vectors.moment().since(self._codes.first))

    def _publish(self) -> None:
        self.state = State(self._vectors.moment(), self._codes.moment(), self._approximate, self._sequence)
