"""embeddb-server as a process of its own, over gRPC."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contenders import Client, Floats
from contenders.collection import NAME, OneCollection, numbers, question
from contenders.tasks import AsyncClient, Loop
from embeddb.options import Effort
from embeddb.query import Search
from embeddb_client import AsyncClient as AsyncConnection
from embeddb_client import Client as Connection
from embeddb_client import Collection


@contextmanager
def serve(folder: Path) -> Iterator[tuple[int, str]]:
    """Run a server over a folder until the block ends; gives the number of its process, and its address."""
    command = [sys.executable, "-m", "embeddb_server.main", "--data", str(folder), "--port", "0"]
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        words = server.stdout.readline().split()
        try:
            yield server.pid, words[words.index("on") + 1].rstrip(",")
        finally:
            server.terminate()


class Embeddb(OneCollection):
    """A server with one collection."""

    def open(self, folder: Path) -> None:
        self._running = ExitStack()
        self.pid, self._address = self._running.enter_context(serve(folder))
        self._connection = Connection(self._address, collection=NAME)

    def create(self, dimension: int) -> None:
        self.make(self._connection, dimension)

    def insert(self, first: int, vectors: Floats) -> None:
        self.fill(self._connection, first, vectors)

    def build(self) -> None:
        """The server builds by itself."""

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        def connect() -> Connection:
            return Connection(self._address, collection=NAME)

        async def awaited(kind: type[AsyncUnary | AsyncStream]) -> AsyncClient:
            return kind(AsyncConnection(self._address, collection=NAME), self._effort)

        ways: dict[str, Callable[[], Client]] = {
            "": lambda: Unary(connect(), self._effort),
            "open stream": lambda: Stream(connect(), self._effort),
        }
        # What asyncio changes has nothing to do with the index.
        if self._index == "auto":
            unary, streams = Loop(), Loop()
            ways["asyncio"] = lambda: unary.connect(awaited(AsyncUnary))
            ways["asyncio, open stream"] = lambda: streams.connect(awaited(AsyncStream))
        return ways

    def close(self) -> None:
        self._connection.close()
        self._running.close()


class Unary:
    """A call for each search."""

    def __init__(self, connection: Connection, effort: Effort) -> None:
        self._connection = connection
        self._effort = effort

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        return numbers(self._connection.search_many(question(queries, self._effort)))

    def close(self) -> None:
        self._connection.close()


class Stream:
    """An exchange on an open stream for each search."""

    def __init__(self, connection: Connection, effort: Effort) -> None:
        self._connection = connection
        self._effort = effort
        self._requests: queue.SimpleQueue[Search | None] = queue.SimpleQueue()
        collection: Collection = connection
        self._answers = collection.stream_search(iter(self._requests.get, None))

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        self._requests.put(question(queries, self._effort))
        return numbers(next(self._answers))

    def close(self) -> None:
        self._requests.put(None)
        assert next(self._answers, None) is None
        self._connection.close()


class AsyncUnary:
    """A call for each search, awaited."""

    def __init__(self, connection: AsyncConnection, effort: Effort) -> None:
        self._connection = connection
        self._effort = effort

    async def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        return numbers(await self._connection.search_many(question(queries, self._effort)))

    async def close(self) -> None:
        await self._connection.close()


class AsyncStream:
    """An exchange on an open stream for each search, awaited."""

    def __init__(self, connection: AsyncConnection, effort: Effort) -> None:
        self._connection = connection
        self._effort = effort
        self._requests: asyncio.Queue[Search | None] = asyncio.Queue()
        self._answers = connection.stream_search(self._asked())

    async def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        self._requests.put_nowait(question(queries, self._effort))
        return numbers(await anext(self._answers))

    async def close(self) -> None:
        self._requests.put_nowait(None)
        assert await anext(self._answers, None) is None
        await self._connection.close()

    async def _asked(self) -> AsyncIterator[Search]:
        while (search := await self._requests.get()) is not None:
            yield search
