"""Batches that form by themselves: whoever arrives while the network is busy goes into the next one together.

There is no timer: a lone request starts at once. Queries go before bulk loads, so that a load does not
starve a search.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import IntEnum
from typing import Generic, TypeVar

from embeddb.errors import EmbeddbError, InternalError, ResourceExhaustedError, UnavailableError

__all__ = ["Batcher", "Priority"]

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


class Priority(IntEnum):
    """Who goes first."""

    QUERY = 0
    BULK = 1


class Batcher(Generic[T, R]):
    """A queue before a function that works best on many inputs at once, and the thread that runs it.

    Args:
        name: of the thread.
        run: takes 1 to `max_batch` inputs and gives one result each, in order.
        max_batch: most inputs of one run.
        max_queue: most inputs that wait.
    """

    def __init__(
        self, name: str, run: Callable[[Sequence[T]], Sequence[R]], max_batch: int, max_queue: int
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._queues: dict[Priority, deque[tuple[T, Future[R]]]] = {p: deque() for p in Priority}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, value: T, priority: Priority) -> Future[R]:
        """Queue one input; a future that is cancelled before its batch starts is not computed.

        Raises:
            ResourceExhaustedError: the queue is full.
            UnavailableError: the batcher is closed.
        """
        future: Future[R] = Future()
        with self._changed:
            if self._closed:
                raise UnavailableError(f"{self._thread.name} is closed")
            queue = self._queues[priority]
            if len(queue) >= self._max_queue:
                raise ResourceExhaustedError(
                    f"{self._thread.name}: the queue is full ({self._max_queue} wait); try again later"
                )
            queue.append((value, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish what is queued, refuse what comes, and return when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            values = [value for value, _ in batch]
            try:
                results = self._run(values)
                for (_, future), result in zip(batch, results, strict=True):
                    future.set_result(result)
            except Exception as error:
                # The failure goes to everyone who waits, and the thread lives on.
                self._fail(batch, error)

    def _next_batch(self) -> list[tuple[T, Future[R]]]:
        """Wait for work; an empty batch means that the batcher is closed and everything is done."""
        while True:
            with self._changed:
                while not any(self._queues.values()):
                    if self._closed:
                        return []
                    self._changed.wait()
                taken: list[tuple[T, Future[R]]] = []
                for priority in Priority:
                    queue = self._queues[priority]
                    while queue and len(taken) < self._max_batch:
                        taken.append(queue.popleft())
            running = [each for each in taken if each[1].set_running_or_notify_cancel()]
            if running:
                return running

    def _fail(self, batch: Sequence[tuple[T, Future[R]]], error: Exception) -> None:
        if not isinstance(error, EmbeddbError):
            log.error("a batch of %d failed in %s", len(batch), self._thread.name, exc_info=error)
            error = InternalError(f"{self._thread.name} failed on a batch: {error}")
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
