"""embeddb-server as a process of its own, over gRPC."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contenders import Client, Floats
from contenders.collection import NAME, OneCollection, numbers, question
from embeddb.options import Effort
from embeddb.query import Search
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

        return {
            "": lambda: Unary(connect(), self._effort),
            "open stream": lambda: Stream(connect(), self._effort),
        }

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
