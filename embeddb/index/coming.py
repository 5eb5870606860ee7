"""Vectors that are still in storage alone, after a start that took up an index over them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from embeddb.deadline import current
from embeddb.errors import UnavailableError

__all__ = ["Coming", "Source", "ahead"]

T = TypeVar("T")
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# How often who waits looks whether its caller is still there.
LOOK_SECONDS = 1.0


class Source(Protocol):
    """A space's vectors where they are kept."""

    def are_dead(self, rows: Rows) -> Mask:
        """(n,) bool: whether each of some rows (n,) int64, ascending, that were here is dead now.

        Their vectors are not looked at: one that is damaged is not dead.
        """

    def scan(self, after: int = -1) -> Iterable[tuple[Rows, Floats]]:
        """Iterate over the living rows beyond one, (b,) int64, ascending, and their vectors (b, d) float32.

        Damaged ones are passed over.
        """

    def read(self, rows: Rows) -> dict[int, Floats]:
        """The vectors (d,) float32 of rows; those that are gone or damaged are left out."""


class Coming:
    """The vectors of a space's first places, which are read while others are searched already.

    A few are read from the source for whoever asks; who needs all of them waits here. Thread-safe.

    Args:
        source: where they are.
        count: of the places that they belong to.

    Attributes:
        longest: the length of the longest of those that are in their places.
    """

    def __init__(self, source: Source, count: int) -> None:
        self.source = source
        self.count = count
        self.longest = 0.0
        self._ended = threading.Event()
        self._failure = ""

    @property
    def over(self) -> bool:
        """Whether nobody waits any more: they are in their places, or will not come."""
        return self._ended.is_set()

    def end(self, failure: str = "") -> None:
        """Let those who wait go on; with a failure, tell them that the vectors will not come."""
        self._failure = failure
        self._ended.set()

    def join(self) -> None:
        """Return when it is over, however it ended and however long that takes."""
        self._ended.wait()

    def wait(self) -> None:
        """Return when all are in their places.

        Raises:
            UnavailableError: they will not come.
            DeadlineExceededError, CancelledError: nobody waits for the answer any more.
        """
        while not self._ended.is_set():
            current().check()
            left = current().seconds
            self._ended.wait(LOOK_SECONDS if left is None else min(left, LOOK_SECONDS))
        if self._failure:
            raise UnavailableError(self._failure)


def ahead(batches: Iterable[T]) -> Iterator[T]:
    """The same batches; the next one is read on another thread while one is worked on."""
    iterator = iter(batches)
    # There is nothing to work on before the first one, and a start that finds none needs no thread.
    batch = next(iterator, None)
    with ThreadPoolExecutor(1, "fill") as reader:
        while batch is not None:
            coming = reader.submit(next, iterator, None)
            yield batch
            batch = coming.result()
