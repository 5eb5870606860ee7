"""LanceDB in process: HNSW over byte codes, in one partition, as its documentation has for a million rows.

The breadth of the search is the least that finds enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import lancedb
import pyarrow as pa
from lancedb.index import HnswSq

from contenders import Client, Floats, K

NAME = "bench"


class Lance:
    """A table in this process."""

    efforts = (16, 24, 32, 48, 64, 100, 150, 200, 300)
    batch = 10_000

    def __init__(self) -> None:
        self.pid = os.getpid()

    def open(self, folder: Path) -> None:
        self._database = lancedb.connect(folder)
        if NAME in self._database.list_tables().tables:
            self._table = self._database.open_table(NAME)

    def create(self, dimension: int) -> None:
        self._schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dimension))])
        self._table = self._database.create_table(NAME, schema=self._schema)

    def insert(self, first: int, vectors: Floats) -> None:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        numbers = pa.array(range(first, first + len(vectors)))
        self._table.add(pa.table([numbers, flat], schema=self._schema))

    def build(self) -> None:
        self._table.optimize()
        self._table.create_index("vector", config=HnswSq(distance_type="cosine", num_partitions=1))

    def look(self, effort: int) -> None:
        self._effort = effort

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        return {"": lambda: Searcher(self._table, self._effort)}

    def close(self) -> None:
        del self._table, self._database


class Searcher:
    """Searches the one table, which is safe for threads."""

    def __init__(self, table: lancedb.table.Table, effort: int) -> None:
        self._table = table
        self._effort = effort

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        lone = len(queries) == 1
        asked = self._table.search(queries[0] if lone else list(queries)).distance_type("cosine")
        found = asked.ef(self._effort).limit(K).select(["id", "_distance"]).to_arrow()
        numbers = found["id"].to_pylist()
        if lone:
            return [numbers]
        answers: list[list[int]] = [[] for _ in queries]
        for query, number in zip(found["query_index"].to_pylist(), numbers, strict=True):
            answers[query].append(number)
        return answers

    def close(self) -> None:
        """Holds nothing."""
