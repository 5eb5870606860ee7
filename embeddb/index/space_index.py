"""One space's index: exact search by cosine over FAISS's flat index, changed in place."""

from __future__ import annotations

import threading

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.errors import InvalidArgumentError

__all__ = ["SpaceIndex"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Dead places are passed over until they are this share of all; then the index is written anew.
MAX_DEAD_SHARE = 0.25


class SpaceIndex:
    """Rows and their vectors, searchable the moment `update` returns. Thread-safe.

    Vectors are brought to unit length here, so that the inner product is the cosine; a zero vector stays
    one, and its score is 0 for every query.

    Args:
        dimension: of all vectors.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._lock = threading.Lock()
        self._flat = faiss.IndexFlatIP(dimension)
        # The row at each place of the FAISS index, -1 where it is dead, and the way back.
        self._rows: Rows = np.empty(0, np.int64)
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return "exact (FAISS flat)"

    def update(self, rows: Rows, vectors: Floats, removed: Rows) -> None:
        """Add rows and take others out, in one step for every search.

        Args:
            rows: (n,) int64, none of them here already.
            vectors: (n, dimension) float32.
            removed: (m,) int64; those that are not here are passed over.
        """
        if vectors.shape != (len(rows), self.dimension):
            raise InvalidArgumentError("vectors", vectors.shape, f"must be ({len(rows)}, {self.dimension})")
        unit = np.array(vectors, dtype=np.float32, order="C")
        faiss.normalize_L2(unit)
        with self._lock:
            start = len(self._rows)
            self._flat.add(unit)
            self._rows = np.concatenate([self._rows, rows])
            self._places.update(zip(rows.tolist(), range(start, start + len(rows)), strict=True))
            for row in removed.tolist():
                place = self._places.pop(row, None)
                if place is not None:
                    self._rows[place] = -1
            if len(self._rows) - len(self._places) > MAX_DEAD_SHARE * len(self._rows):
                self._compact()

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Find the k nearest rows of each query.

        Args:
            queries: (n, dimension) float32 of unit length.

        Returns:
            Scores (n, k) float32, larger is nearer, best first; and rows (n, k) int64. Where there are fewer
            than k rows, the rest is -1, with a score of minus infinity.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidArgumentError("queries", queries.shape, f"must be (n, {self.dimension})")
        with self._lock:
            found = min(k, len(self._places))
            scores = np.full((len(queries), k), -np.inf, np.float32)
            rows = np.full((len(queries), k), -1, np.int64)
            if found:
                scores[:, :found], places = self._flat.search(queries, found, params=self._alive())
                rows[:, :found] = self._rows[places]
        return scores, rows

    def _alive(self) -> faiss.SearchParameters | None:
        """What makes FAISS pass over the dead; None where there are none, which is faster."""
        if len(self._places) == len(self._rows):
            return None
        selector = faiss.IDSelectorBatch(np.flatnonzero(self._rows >= 0))
        return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg] # FAISS adds it at run time

    def _compact(self) -> None:
        places = np.flatnonzero(self._rows >= 0)
        vectors = faiss.rev_swig_ptr(self._flat.get_xb(), self._flat.ntotal * self.dimension)
        flat = faiss.IndexFlatIP(self.dimension)
        flat.add(vectors.reshape(-1, self.dimension)[places])
        self._flat = flat
        self._rows = self._rows[places]
        self._places = {row: place for place, row in enumerate(self._rows.tolist())}
