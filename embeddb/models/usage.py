"""Who uses a model just now, so that its memory is not taken away from under them."""

from __future__ import annotations

import threading
import time

__all__ = ["Usage"]


class Usage:
    """Counts those who use a thing. Thread-safe."""

    def __init__(self) -> None:
        self._users = 0
        self._closed = False
        self._last = time.monotonic()
        self._changed = threading.Condition()

    def enter(self) -> bool:
        """Begin to use it; False once it is closed, and then nothing has begun."""
        with self._changed:
            if not self._closed:
                self._users += 1
            return not self._closed

    def leave(self) -> None:
        """End what `enter` began."""
        with self._changed:
            self._users -= 1
            self._last = time.monotonic()
            self._changed.notify_all()

    def idle_seconds(self) -> float:
        """For how long nobody has used it; 0 while somebody does."""
        with self._changed:
            return 0.0 if self._users else time.monotonic() - self._last

    def close(self) -> None:
        """Let nobody in any more, and return when all have left."""
        with self._changed:
            self._closed = True
            while self._users:
                self._changed.wait()
