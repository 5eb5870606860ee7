"""Work on a server that goes on until somebody ends it."""

from __future__ import annotations

import threading
import time

from embeddb.errors import CancelledError

__all__ = ["Endless"]


class Endless:
    """Steps that never come to an end, and know whether somebody made them stop.

    It stands in the place of what takes a step as its last argument, such as `embeddb.index.Centres`.
    """

    def __init__(self) -> None:
        self.begun, self.stopped = threading.Event(), threading.Event()

    def __call__(self, *arguments: object) -> None:
        step = arguments[-1]
        assert callable(step)
        try:
            self.begun.set()
            for done in range(3000):
                step("going round", done, 3000)
                time.sleep(0.01)
        except CancelledError:
            self.stopped.set()
            raise
