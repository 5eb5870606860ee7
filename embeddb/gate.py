"""A readers-writer lock: many share it, or one has it alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Gate"]


class Gate:
    """Many share it, each as long as its `with` block, or one has it alone.

    Whoever waits to be alone is not overtaken by newcomers, and those who waited for its end go before the
    next one who wants to be alone.
    """

    def __init__(self) -> None:
        # To enter the lock itself takes a tenth of what it takes to enter a condition.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside = 0
        self._closed = False
        self._waiting = 0
        self._next = 0

    @property
    def is_open(self) -> bool:
        """Whether to share it would not take any waiting, at this moment."""
        return not self._closed

    def __enter__(self) -> None:
        with self._lock:
            if self._closed:
                self._wait()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._closed:
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have it alone: wait until those inside have left, and keep others out."""
        with self._lock:
            while self._closed or self._next:
                self._changed.wait()
            self._closed = True
        try:
            with self._lock:
                while self._inside:
                    self._changed.wait()
            yield
        finally:
            with self._lock:
                self._closed = False
                self._next = self._waiting
                self._changed.notify_all()

    def _wait(self) -> None:
        """Wait until it is open; the lock is held."""
        self._waiting += 1
        try:
            while self._closed:
                self._changed.wait()
        finally:
            # Also for one who was interrupted.
            self._waiting -= 1
            if self._next:
                self._next -= 1
                self._changed.notify_all()
