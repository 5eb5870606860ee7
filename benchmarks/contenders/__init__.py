"""Ways to search vectors, each behind the same few calls, in a module that alone imports its library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

K = 10


class Client(Protocol):
    """One caller's connection."""

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        """The numbers of the `K` vectors nearest to each of the queries (n, d), asked for in one call."""

    def close(self) -> None:
        """Free what it holds."""


class Contender(Protocol):
    """Holds vectors in a folder; they are known by their numbers.

    Attributes:
        pid: of the process that holds the vectors.
        efforts: how hard it can look, least first; the benchmark takes the first that finds enough.
        batch: how many vectors to insert at once.
    """

    pid: int
    efforts: Sequence[int]
    batch: int

    def open(self, folder: Path) -> None:
        """Open a folder, or start the server over it."""

    def create(self, dimension: int) -> None:
        """Make the collection, in a folder that is new."""

    def insert(self, first: int, vectors: Floats) -> None:
        """Add vectors (n, d), numbered from `first` on. When it returns, they can be found."""

    def build(self) -> None:
        """Do what is to be done once all vectors are there."""

    def look(self, effort: int) -> None:
        """Look so hard from now on."""

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        """The ways to connect, by name, the plain one first under the empty name."""

    def close(self) -> None:
        """End the server, or close the folder."""


def insert_all(contender: Contender, vectors: Floats) -> None:
    """Insert vectors (n, d), as many at once as it wants, numbered from 0 on."""
    for first in range(0, len(vectors), contender.batch):
        contender.insert(first, np.asarray(vectors[first : first + contender.batch]))


@dataclass(frozen=True)
class Entry:
    """Where a contender is defined, and whether it needs the environment of the peers."""

    made_by: str
    peer: bool = True
    arguments: tuple[str, ...] = ()


CONTENDERS = {
    "embeddb": Entry("contenders.of_embeddb:Embeddb", False, ("auto",)),
    "embeddb, HNSW": Entry("contenders.of_embeddb:Embeddb", False, ("HNSW32",)),
    "embeddb, in process": Entry("contenders.of_database:InProcess", False, ("auto",)),
    "FAISS HNSW": Entry("contenders.of_faiss:Faiss", False, ("HNSW32",)),
    "FAISS IVF": Entry("contenders.of_faiss:Faiss", False, ("IVF{lists},SQ8",)),
    "FAISS IVF over gRPC": Entry("contenders.of_faiss_server:FaissServer", False, ("IVF{lists},SQ8",)),
    "Chroma server": Entry("contenders.of_chroma:Chroma"),
    "LanceDB": Entry("contenders.of_lancedb:Lance"),
    "Milvus Lite": Entry("contenders.of_milvus:Milvus"),
}
