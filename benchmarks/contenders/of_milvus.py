"""Milvus Lite through pymilvus: HNSW, with its own defaults for M and efConstruction.

The breadth of the search is the least that finds enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pymilvus import DataType, MilvusClient

from contenders import Client, Floats, K

NAME = "bench"
KEEPALIVE_MS = 3_600_000


class Milvus:
    """A collection in this process."""

    efforts = (16, 24, 32, 48, 64, 100, 150, 200, 300)
    batch = 1000

    def __init__(self) -> None:
        self.pid = os.getpid()

    def open(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        # Its server ends the connections of clients who ping it often, as they do by default: while they are
        # idle, and while it builds an index, which they then ask for once more.
        options = {"grpc.keepalive_permit_without_calls": False, "grpc.keepalive_time_ms": KEEPALIVE_MS}
        self._client = MilvusClient(str(folder / "milvus.db"), grpc_options=options)
        if self._client.has_collection(NAME):
            self._client.load_collection(NAME)

    def create(self, dimension: int) -> None:
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
        self._client.create_collection(NAME, schema=schema)

    def insert(self, first: int, vectors: Floats) -> None:
        self._client.insert(NAME, [{"id": first + n, "vector": vector} for n, vector in enumerate(vectors)])

    def build(self) -> None:
        self._client.flush(NAME)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="COSINE")
        self._client.create_index(NAME, index)
        self._client.load_collection(NAME)

    def look(self, effort: int) -> None:
        self._effort = effort

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        return {"": lambda: Searcher(self._client, self._effort)}

    def close(self) -> None:
        self._client.close()


class Searcher:
    """Searches through the one client, which is safe for threads."""

    def __init__(self, client: MilvusClient, effort: int) -> None:
        self._client = client
        self._parameters = {"metric_type": "COSINE", "params": {"ef": effort}}

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        found = self._client.search(NAME, list(queries), limit=K, search_params=self._parameters)
        return [hits.ids for hits in found]

    def close(self) -> None:
        """Holds nothing."""
