"""embeddb-server as a process of its own, over gRPC."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from contenders import Client, Floats, K
from embeddb.errors import EmbeddbError
from embeddb.options import Effort
from embeddb.query import CollectionSettings, PutItem, Search
from embeddb_client import Client as Connection
from embeddb_client import Collection

EFFORTS = (Effort.BALANCED, Effort.ACCURACY, Effort.EXACT)


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


class Embeddb:
    """A server with one collection.

    Args:
        index: the collection's setting of that name.
    """

    batch = 1000
    efforts = tuple(range(len(EFFORTS)))

    def __init__(self, index: str) -> None:
        self._index = index
        self._effort = Effort.BALANCED

    def open(self, folder: Path) -> None:
        self._running = ExitStack()
        self.pid, self._address = self._running.enter_context(serve(folder))
        self._connection = Connection(self._address, collection="bench")

    def create(self, dimension: int) -> None:
        self._connection.register_model("given", {"loader": "vectors", "dimension": dimension})
        self._connection.create_collection("bench", ["given"], CollectionSettings(index=self._index))

    def insert(self, first: int, vectors: Floats) -> None:
        items = (PutItem(str(first + n), features={"given": vector}) for n, vector in enumerate(vectors))
        for result in self._connection.put_many(items):
            if result.error is not None:
                raise result.error

    def build(self) -> None:
        """The server builds by itself."""

    def look(self, effort: int) -> None:
        self._effort = EFFORTS[effort]

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        def connect() -> Connection:
            return Connection(self._address, collection="bench")

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
        return _numbers(self._connection.search_many(Search(tuple(queries), K, effort=self._effort)))

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
        self._requests.put(Search(tuple(queries), K, effort=self._effort))
        return _numbers(next(self._answers))

    def close(self) -> None:
        self._requests.put(None)
        assert next(self._answers, None) is None
        self._connection.close()


def _numbers(found: list[list[Any] | EmbeddbError]) -> list[list[int]]:
    numbers = []
    for hits in found:
        if isinstance(hits, EmbeddbError):
            raise hits
        numbers.append([int(hit.id) for hit in hits])
    return numbers
