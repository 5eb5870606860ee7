"""How many streams may be open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from embeddb.errors import ResourceExhaustedError
from embeddb_server.handlers import Behaviour, Call, CallInterceptor, Method, inside

__all__ = ["StreamInterceptor"]


class StreamInterceptor(CallInterceptor):
    """Refuses streams beyond a number: each may hold a thread as long as it lives, even if nothing comes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = threading.Semaphore(most)

    def around(self, behaviour: Behaviour, method: Method) -> Behaviour:
        """The behaviour, as long as there is room for another stream."""
        return inside(self._counted, behaviour) if method.gives_stream else behaviour

    @contextmanager
    def _counted(self, call: Call) -> Iterator[None]:
        if not self._free.acquire(blocking=False):
            raise ResourceExhaustedError(
                f"{self._most} streams are open, and max_streams allows no more; use calls, or try again"
            )
        try:
            yield
        finally:
            self._free.release()
