"""embeddb in this process, without a server: what there is to compare with others that are in process.

As docs/index.md has for a process of one's own, OpenMP's threads sleep while they wait, and FAISS compares by
matrix products.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from contenders import Client, Floats

# Read when FAISS is imported, which `embeddb.open` does.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import embeddb
from contenders.collection import NAME, OneCollection, numbers, question
from embeddb.collection import Collection
from embeddb.index import prefer_products
from embeddb.options import Effort


class InProcess(OneCollection):
    """A database with one collection."""

    pid = os.getpid()

    def open(self, folder: Path) -> None:
        prefer_products()
        self._database = embeddb.open(folder)

    def create(self, dimension: int) -> None:
        self.make(self._database, dimension)

    def insert(self, first: int, vectors: Floats) -> None:
        self.fill(self._database.collection(NAME), first, vectors)

    def build(self) -> None:
        self._database.collection(NAME).settle()

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        return {"": lambda: Searcher(self._database.collection(NAME), self._effort)}

    def close(self) -> None:
        self._database.close()


class Searcher:
    """Searches the one collection, which is safe for threads."""

    def __init__(self, collection: Collection, effort: Effort) -> None:
        self._collection = collection
        self._effort = effort

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        return numbers(self._collection.search_many(question(queries, self._effort)))

    def close(self) -> None:
        """Holds nothing."""
