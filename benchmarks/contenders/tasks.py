"""Clients of asyncio: callers that are tasks of one event loop instead of threads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from contenders import Floats

__all__ = ["AsyncClient", "Loop", "OnLoop"]

T = TypeVar("T")


class AsyncClient(Protocol):
    """One caller's connection; see `Client`."""

    async def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        """The numbers of the `K` vectors nearest to each of the queries (n, d), asked for in one call."""

    async def close(self) -> None:
        """Free what it holds."""


class Loop:
    """An event loop, which runs while something is awaited; closed with the last of its clients."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._clients = 0

    def connect(self, making: Coroutine[Any, Any, AsyncClient]) -> OnLoop:
        """A client that is made, and asked, on the loop."""
        self._clients += 1
        return OnLoop(self, self.run(making))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for it."""
        return self._runner.run(coroutine)

    def leave(self) -> None:
        """Without one of its clients from now on."""
        self._clients -= 1
        if not self._clients:
            self._runner.close()


class OnLoop:
    """A client of asyncio as a `Client` for one caller, who has the loop run until he has the answer.

    Attributes:
        loop: where several of them are asked at the same time, as `awaited`.
    """

    def __init__(self, loop: Loop, client: AsyncClient) -> None:
        self.loop = loop
        self.awaited = client

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        return self.loop.run(self.awaited.search(queries))

    def close(self) -> None:
        self.loop.run(self.awaited.close())
        self.loop.leave()
