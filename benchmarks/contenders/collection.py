"""What a server and a database in this process have in common: one collection of given vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contenders import Floats, K
from embeddb.errors import EmbeddbError, or_raise
from embeddb.options import Effort
from embeddb.query import CollectionSettings, Encoding, Hits, PutItem, Search

__all__ = ["NAME", "OneCollection", "numbers", "question"]

NAME = "bench"
EFFORTS = (Effort.BALANCED, Effort.ACCURACY, Effort.EXACT)


class OneCollection:
    """The settings of one collection, and how it is made and filled.

    Args:
        index, encoding: the collection's settings of these names.
    """

    # As many as Chroma is given: one `put_many` sends a thousand while another thousand is written.
    batch = 5000
    efforts = tuple(range(len(EFFORTS)))

    def __init__(self, index: str, encoding: Encoding = Encoding.FLOAT32) -> None:
        self._index = index
        self._encoding = encoding
        self._effort = EFFORTS[0]

    def look(self, effort: int) -> None:
        self._effort = EFFORTS[effort]

    def make(self, database: Any, dimension: int) -> None:
        """Make the collection, in a database or on a server."""
        database.register_model("given", {"loader": "vectors", "dimension": dimension})
        settings = CollectionSettings(index=self._index, encoding=self._encoding)
        database.create_collection(NAME, ["given"], settings)

    @staticmethod
    def fill(collection: Any, first: int, vectors: Floats) -> None:
        """Put vectors, numbered from `first` on."""
        ids = [str(first + n) for n in range(len(vectors))]
        for error in collection.put_many(PutItem.rows(ids, {"given": vectors})).errors.values():
            raise error


def question(queries: Floats, effort: Effort) -> Search:
    """What is asked for all queries (n, d)."""
    return Search(tuple(queries), K, effort=effort)


def numbers(found: Sequence[Hits | EmbeddbError]) -> list[list[int]]:
    """The numbers of the vectors that were found for each query."""
    return [list(map(int, or_raise(hits).ids)) for hits in found]
