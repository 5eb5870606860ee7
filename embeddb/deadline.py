"""How long a caller waits for an answer: work that nobody waits for any more is not done.

    with within(Deadline(time.monotonic() + 2.0)):
        collection.search("a cat")  # raises DeadlineExceededError if it takes longer

The server sets one for every call. What works for a call on another thread takes the deadline along.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from embeddb.errors import CancelledError, DeadlineExceededError

__all__ = ["NEVER", "Deadline", "current", "set_current", "within"]


@dataclass(frozen=True, eq=False)
class Deadline:
    """When a caller stops waiting.

    Attributes:
        at: the moment, in seconds of `time.monotonic`.
        gone: tells whether the caller went away before that.
    """

    at: float = math.inf
    gone: Callable[[], bool] = lambda: False

    @property
    def seconds(self) -> float | None:
        """How long the caller still waits, in seconds; None for ever."""
        return None if self.at == math.inf else max(0.0, self.at - time.monotonic())

    def over(self) -> DeadlineExceededError | CancelledError | None:
        """Why nobody waits any more; None while somebody does."""
        if time.monotonic() >= self.at:
            return DeadlineExceededError("the deadline passed before the answer was ready")
        if self.gone():
            return CancelledError("the caller went away before the answer was ready")
        return None

    def check(self) -> None:
        """Go on only while somebody waits.

        Raises:
            DeadlineExceededError: the deadline has passed.
            CancelledError: the caller went away.
        """
        error = self.over()
        if error is not None:
            raise error


NEVER = Deadline()
"""The deadline of work that is done in any case."""

_CURRENT: ContextVar[Deadline] = ContextVar("deadline", default=NEVER)


def current() -> Deadline:
    """The deadline of the call that this thread works for."""
    return _CURRENT.get()


def set_current(deadline: Deadline) -> None:
    """Give a deadline to what follows in this context: for calls that each have a context of their own."""
    _CURRENT.set(deadline)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Give a deadline to the calls inside."""
    token = _CURRENT.set(deadline)
    try:
        yield
    finally:
        _CURRENT.reset(token)
