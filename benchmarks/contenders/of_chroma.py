"""Chroma's server as a process of its own, over HTTP.

Its own defaults, which its documentation recommends for most uses, but for the metric, inserts that are near
the largest it takes, and the breadth of the search, which is the least that finds enough. A `modify` of that
changes nothing while the index is in memory, so the server starts anew after it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import chromadb
from chromadb.api import ClientAPI
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.config import Settings

from contenders import Client, Floats, K
from contenders.tasks import AsyncClient, Loop

NAME = "bench"
START_SECONDS = 60


class Chroma:
    """A server with one collection."""

    efforts = (16, 24, 32, 48, 64, 100, 150, 200, 300)
    batch = 5000

    def open(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self._port: int = unused.getsockname()[1]
        program = Path(sys.executable).parent / "chroma"
        command = [str(program), "run", "--path", str(folder), "--port", str(self._port)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self._server.pid
        self._client = self._connect()

    def create(self, dimension: int) -> None:
        configuration = {"hnsw": {"space": "cosine"}}
        self._client.create_collection(NAME, configuration=configuration, embedding_function=None)

    def insert(self, first: int, vectors: Floats) -> None:
        ids = [str(first + n) for n in range(len(vectors))]
        self._collection(self._client).add(ids, embeddings=vectors)

    def build(self) -> None:
        """The server builds by itself."""

    def look(self, effort: int) -> None:
        self._collection(self._client).modify(configuration={"hnsw": {"ef_search": effort}})
        self.close()
        self.open(self._folder)

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        async def awaited() -> AsyncClient:
            client = await chromadb.AsyncHttpClient("127.0.0.1", self._port, settings=_settings())
            return AsyncSearcher(await client.get_collection(NAME, embedding_function=None))

        loop = Loop()
        return {
            "": lambda: Searcher(self._collection(self._connect())),
            "asyncio": lambda: loop.connect(awaited()),
        }

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()

    def _connect(self) -> ClientAPI:
        end = time.perf_counter() + START_SECONDS
        while True:
            try:
                return chromadb.HttpClient("127.0.0.1", self._port, settings=_settings())
            except ValueError:
                # What it raises while nobody listens.
                if time.perf_counter() > end or self._server.poll() is not None:
                    raise
                time.sleep(0.01)

    @staticmethod
    def _collection(client: ClientAPI) -> chromadb.Collection:
        return client.get_collection(NAME, embedding_function=None)


class Searcher:
    """One client's collection."""

    def __init__(self, collection: chromadb.Collection) -> None:
        self._collection = collection

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        return numbers(self._collection.query(query_embeddings=queries, n_results=K, include=[]))

    def close(self) -> None:
        """Chroma's clients close nothing."""


class AsyncSearcher:
    """One asyncio client's collection."""

    def __init__(self, collection: AsyncCollection) -> None:
        self._collection = collection

    async def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        return numbers(await self._collection.query(query_embeddings=queries, n_results=K, include=[]))

    async def close(self) -> None:
        """Chroma's clients close nothing."""


def numbers(found: chromadb.QueryResult) -> list[list[int]]:
    """The numbers of the vectors that were found for each query."""
    return [list(map(int, ids)) for ids in found["ids"]]


def _settings() -> Settings:
    """New ones for each client, which writes its port into them."""
    return Settings(anonymized_telemetry=False)
