"""Searches go before puts: work on thousands of items holds off while a search is under way.

A search takes a millisecond of the processor, and lets go of Python's lock some thirty times. Beside puts
another thread takes it each time, and keeps it for up to the switch interval; and threads that compute have
the cores. So those who put, who commit and who add to an index look after every few items whether there is a
search, and let it end first.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["EVERY", "MOST_SECONDS", "Precedence", "searches"]

T = TypeVar("T")

# Nobody holds off any longer than this after the search began.
MOST_SECONDS = 0.005
# Work of one to three microseconds an item looks after so many items.
EVERY = 32
# Where somebody searched, others are expected to for so many seconds.
LATELY_SECONDS = 1.0


class Precedence:
    """Those inside a `with` block go first, for a while. Thread-safe.

    They have precedence from when the first of them comes in until the last has left, but for no longer than
    `MOST_SECONDS`, and after that nobody has any for as long again: however many there are, all others lose
    half of their time at most.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        # Since when and until when those inside have precedence, 0 for nobody, and from when on newcomers may
        # have it; in seconds of `time.perf_counter`.
        self._since = self._until = self._again = 0.0
        # When the last one came in, by the same clock.
        self._last = -math.inf

    def __enter__(self) -> None:
        with self._changed:
            now = self._last = time.perf_counter()
            self._inside += 1
            if self._inside == 1 and now >= self._again:
                self._since, self._until = now, now + MOST_SECONDS

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            if not self._inside and self._until:
                now = time.perf_counter()
                self._again = now + min(now, self._until) - self._since
                self._until = 0.0
                self._changed.notify_all()

    @property
    def came_lately(self) -> bool:
        """Whether somebody is inside, or came in within the last `LATELY_SECONDS`."""
        return self._inside > 0 or time.perf_counter() < self._last + LATELY_SECONDS

    def give_way(self) -> None:
        """Return when nobody has precedence, at most `MOST_SECONDS` later.

        Not for who holds a lock that those inside wait for.
        """
        if not self._until:
            return
        with self._changed:
            left = self._until - time.perf_counter()
            if left > 0:
                # Once: those who come in meanwhile are not waited for.
                self._changed.wait(left)

    def behind(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; gives way after every `EVERY` of them, and never for fewer."""
        for number, item in enumerate(items, 1):
            yield item
            if not number % EVERY:
                self.give_way()


searches = Precedence()
"""The searches of this process, which share its cores and Python's lock whatever they search."""
