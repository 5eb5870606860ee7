"""embeddb in this process, without a server: what there is to compare with others that are in process.

As its documentation has for a process of one's own, OpenMP's threads sleep while they wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from contenders import Client, Floats, K

# Read when FAISS is imported, which `embeddb.open` does.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import embeddb
from embeddb import CollectionSettings, Effort, PutItem, Search
from embeddb.collection import Collection
from embeddb.errors import or_raise

EFFORTS = (Effort.BALANCED, Effort.ACCURACY, Effort.EXACT)


class InProcess:
    """A database with one collection.

    Args:
        index: the collection's setting of that name.
    """

    batch = 1000
    efforts = tuple(range(len(EFFORTS)))

    def __init__(self, index: str) -> None:
        self._index = index
        self._effort = Effort.BALANCED
        self.pid = os.getpid()

    def open(self, folder: Path) -> None:
        self._database = embeddb.open(folder)

    def create(self, dimension: int) -> None:
        self._database.register_model("given", {"loader": "vectors", "dimension": dimension})
        self._database.create_collection("bench", ["given"], CollectionSettings(index=self._index))

    def insert(self, first: int, vectors: Floats) -> None:
        items = (PutItem(str(first + n), features={"given": vector}) for n, vector in enumerate(vectors))
        for result in self._database.collection("bench").put_many(items):
            if result.error is not None:
                raise result.error

    def build(self) -> None:
        self._database.collection("bench").settle()

    def look(self, effort: int) -> None:
        self._effort = EFFORTS[effort]

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        return {"": lambda: Searcher(self._database.collection("bench"), self._effort)}

    def close(self) -> None:
        self._database.close()


class Searcher:
    """Searches the one collection, which is safe for threads."""

    def __init__(self, collection: Collection, effort: Effort) -> None:
        self._collection = collection
        self._effort = effort

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        found = self._collection.search_many(Search(tuple(queries), K, effort=self._effort))
        return [[int(hit.id) for hit in or_raise(hits)] for hits in found]

    def close(self) -> None:
        """Holds nothing."""
