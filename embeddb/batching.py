"""Batches that form by themselves: whoever arrives during one goes into the next together.

There is no timer: a lone request starts at once. Queries go before bulk loads, so that a load does not starve
a search, and a load gets a turn now and then, so that searches do not starve it either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from embeddb.deadline import Deadline, current
from embeddb.errors import (
    DeadlineExceededError,
    EmbeddbError,
    InternalError,
    ResourceExhaustedError,
    UnavailableError,
)

__all__ = ["Batcher", "Priority", "QueueFigures"]

T = TypeVar("T")
R = TypeVar("R")

# After this many batches of queries in a row, a bulk load that waits gets the next one.
BULK_TURN = 8

log = logging.getLogger(__name__)


class Priority(IntEnum):
    """Who goes first."""

    QUERY = 0
    BULK = 1


@dataclass(frozen=True)
class QueueFigures:
    """What a batcher has done since it was made, and how many inputs wait now."""

    waiting: int
    inputs: int
    batches: int
    busy_seconds: float


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[T, R]):
    """One input, who waits for it and for how long."""

    value: T
    future: Future[R]
    deadline: Deadline


class Batcher(Generic[T, R]):
    """A queue before a function that works best on many inputs at once, and the thread that runs it.

    A batch holds inputs of one priority. A run that fails is repeated on halves of its batch: an input that
    cannot be run fails alone, and a batch that is too large for the memory goes on in smaller ones.

    Args:
        name: of the thread.
        run: takes 1 to `max_batch` inputs and gives a result, or an error of ours, for each, in order.
        max_batch: most inputs of one run.
        max_queue: most inputs that wait, for each priority.
        title: what errors call it; by default its name.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[T]], Sequence[R | EmbeddbError]],
        max_batch: int,
        max_queue: int,
        title: str | None = None,
    ) -> None:
        self._title = name if title is None else title
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._queues: dict[Priority, deque[_Waiting[T, R]]] = {p: deque() for p in Priority}
        self._query_batches = 0
        self._inputs = self._batches = 0
        self._busy_seconds = 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, value: T, priority: Priority, deadline: Deadline | None = None) -> Future[R]:
        """Queue one input.

        It is not run if its future was cancelled or its deadline is over before its batch starts. A full
        queue refuses a query; a bulk load waits here until there is room.

        Args:
            deadline: of the call that it is for; by default the one that this thread works for.

        Raises:
            ResourceExhaustedError: the queue of queries is full.
            DeadlineExceededError, CancelledError: nobody waits for it any more.
            UnavailableError: the batcher is closed.
        """
        waiting: _Waiting[T, R] = _Waiting(value, Future(), current() if deadline is None else deadline)
        queue = self._queues[priority]
        with self._changed:
            while len(queue) >= self._max_queue and not self._closed:
                if priority is Priority.QUERY:
                    raise ResourceExhaustedError(
                        f"{self._title}: the queue is full ({self._max_queue} wait); try again later"
                    )
                waiting.deadline.check()
                self._changed.wait(waiting.deadline.seconds)
            if self._closed:
                raise UnavailableError(f"{self._title} is closed")
            queue.append(waiting)
            self._changed.notify_all()
        return waiting.future

    def wait(self, future: Future[R]) -> R:
        """The result of what this thread submitted, or an error if the call's deadline passes first.

        Raises:
            DeadlineExceededError: the deadline passed; what has not begun is not run any more.
        """
        try:
            return future.result(current().seconds)
        except TimeoutError:
            future.cancel()
            raise DeadlineExceededError("the deadline passed before the answer was ready") from None

    def figures(self) -> QueueFigures:
        """What it has done so far."""
        with self._changed:
            waiting = sum(map(len, self._queues.values()))
            return QueueFigures(waiting, self._inputs, self._batches, self._busy_seconds)

    def close(self) -> None:
        """Finish what is queued, refuse what comes, and return when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._run_batch(batch)

    def _run_batch(self, taken: Sequence[_Waiting[T, R]]) -> None:
        """Serve those of a batch that somebody waits for."""
        begun = time.perf_counter()
        batch: list[_Waiting[T, R]] = []
        try:
            batch.extend(each for each in taken if _still_wanted(each))
            if batch:
                self._serve(batch)
        finally:
            with self._changed:
                self._inputs += len(batch)
                self._batches += bool(batch)
                self._busy_seconds += time.perf_counter() - begun

    def _next_batch(self) -> list[_Waiting[T, R]]:
        """Wait for work; an empty batch means that the batcher is closed and everything is done."""
        with self._changed:
            while not any(self._queues.values()):
                if self._closed:
                    return []
                self._changed.wait()
            queue = self._queues[self._turn()]
            taken = [queue.popleft() for _ in range(min(len(queue), self._max_batch))]
            self._changed.notify_all()
            return taken

    def _turn(self) -> Priority:
        """Whose batch comes next."""
        queries, loads = self._queues[Priority.QUERY], self._queues[Priority.BULK]
        if queries and not (loads and self._query_batches >= BULK_TURN):
            self._query_batches += 1
            return Priority.QUERY
        self._query_batches = 0
        return Priority.BULK

    def _serve(self, batch: Sequence[_Waiting[T, R]]) -> None:
        """Run a batch and deliver its results, or what went wrong; the thread lives on in any case."""
        failure = self._try(batch)
        if failure is None:
            return
        if len(batch) > 1:
            log.warning("%s: a batch of %d failed, and is run in halves", self._title, len(batch))
            failure = None  # Its traceback would keep the failed run's memory through the next ones.
            middle = len(batch) // 2
            self._serve(batch[:middle])
            self._serve(batch[middle:])
            return
        batch[0].future.set_exception(self._as_ours(failure))

    def _try(self, batch: Sequence[_Waiting[T, R]]) -> BaseException | None:
        try:
            outcomes = self._outcomes([each.value for each in batch])
        except BaseException as error:
            # Not Exception alone: a tokenizer in Rust that panics, or a model that calls sys.exit(), would
            # end this thread, and whoever waits now or comes later would wait for ever.
            return error
        for each, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, EmbeddbError):
                each.future.set_exception(outcome)
            else:
                each.future.set_result(outcome)
        return None

    def _outcomes(self, values: Sequence[T]) -> Sequence[R | EmbeddbError]:
        outcomes = self._run(values)
        if len(outcomes) != len(values):
            raise InternalError(f"{self._title}: {len(outcomes)} results of {len(values)} inputs")
        return outcomes

    def _as_ours(self, failure: BaseException) -> EmbeddbError:
        """What whoever waits is told of a failure; the log has all of what is not meant for them."""
        if isinstance(failure, EmbeddbError):
            return failure
        log.error("%s failed", self._title, exc_info=failure)
        return InternalError(f"{self._title} failed: {type(failure).__name__}: {failure}")


def _still_wanted(waiting: _Waiting[T, R]) -> bool:
    if not waiting.future.set_running_or_notify_cancel():
        return False
    error = waiting.deadline.over()
    if error is not None:
        waiting.future.set_exception(error)
    return error is None
