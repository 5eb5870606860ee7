"""Bare FAISS in process: no service, no storage, no ids, nothing durable. The limit."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import faiss
import numpy as np

from contenders import Client, Floats, K

TRAINED_ON = 64


class Faiss:
    """An index in this process.

    Args:
        factory: a factory string of FAISS, in which `{lists}` stands for 4 sqrt(n).
    """

    # Everything at once, since that is the fastest way.
    batch = 1 << 40

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self.pid = os.getpid()
        self.efforts = (16, 24, 32, 48, 64, 96, 128, 192, 256)

    def open(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._file = folder / "index"
        if self._file.exists():
            self._index = faiss.read_index(str(self._file))

    def create(self, dimension: int) -> None:
        self._dimension = dimension

    def insert(self, first: int, vectors: Floats) -> None:
        lists = round(4 * math.sqrt(len(vectors)))
        factory = self._factory.format(lists=lists)
        self._index = faiss.index_factory(self._dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not self._index.is_trained:
            chosen = np.random.default_rng(0).permutation(len(vectors))[: TRAINED_ON * lists]
            self._index.train(vectors[chosen])
        self._index.add(vectors)

    def build(self) -> None:
        faiss.write_index(self._index, str(self._file))

    def look(self, effort: int) -> None:
        graph = self._factory.startswith("HNSW")
        self._parameters = (
            faiss.SearchParametersHNSW(efSearch=effort) if graph else faiss.SearchParametersIVF(nprobe=effort)
        )

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        return {"": lambda: Searcher(self._index, self._parameters)}

    def close(self) -> None:
        del self._index


class Searcher:
    """Searches the one index: a lone query on one thread, a batch on all of them."""

    def __init__(self, index: faiss.Index, parameters: faiss.SearchParameters) -> None:
        self._index = index
        self._parameters = parameters

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        # OpenMP's number of threads belongs to the thread that calls.
        faiss.omp_set_num_threads(1 if len(queries) == 1 else os.cpu_count() or 1)
        return self._index.search(queries, K, params=self._parameters)[1].tolist()

    def close(self) -> None:
        """Holds nothing."""
