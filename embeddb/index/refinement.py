"""The candidates of an index, found and scored in full precision by one call of FAISS."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from faiss import swig_ptr

from embeddb.index.exact import best
from embeddb.index.faiss_search import as_scores, faiss_search, view

__all__ = ["Refinement"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


class Refinement:
    """An index of FAISS under its `IndexRefine`, which scores what the index finds. Thread-safe.

    It scores by a flat index whose codes are a view of a space's own vectors: nothing is copied. FAISS does
    not keep the vectors, nor does this: whoever searches holds them meanwhile.

    Args:
        index: has vectors by their places.
    """

    def __init__(self, index: faiss.Index) -> None:
        self._index = index
        self._is_l2 = index.metric_type == faiss.METRIC_L2
        self._made: tuple[tuple[int, int], faiss.IndexRefine] | None = None

    def search(self, vectors: Floats, queries: Floats, size: int, parameters: Any) -> tuple[Floats, Places]:
        """The candidates of each query; nothing is added to the index meanwhile.

        Args:
            vectors: (n, d) float32, contiguous: of every place that the index has.
            queries: (q, d) float32, prepared, contiguous.
            size: how many, at most as many as the index has.
            parameters: of `IndexRefine`.

        Returns:
            Scores and places as `embeddb.index.exact.scan`, with the scores of `faiss_scores`.
        """
        found, places = faiss_search(self._over(vectors), queries, size, parameters)
        found = as_scores(found, places, is_l2=self._is_l2)
        # FAISS has them in order, but for equals.
        return best(found, places, size) if _some_are_equal(found) else (found, places)

    def _over(self, vectors: Floats) -> faiss.IndexRefine:
        # All that FAISS knows of them: they move when they find no more room.
        known = int(swig_ptr(vectors)), len(vectors)
        made = self._made
        if made is None or made[0] != known:
            made = self._made = known, _refine(self._index, vectors)
        return made[1]


def _some_are_equal(found: Floats) -> bool:
    """Whether a row has two scores alike; they are in order."""
    if len(found) == 1:
        # Python's own, for a lone query finds numpy's out of the processor's caches.
        (scores,) = found.tolist()
        return len(set(scores)) < len(scores)
    return bool((found[:, 1:] == found[:, :-1]).any())


def _refine(index: faiss.Index, vectors: Floats) -> faiss.IndexRefine:
    flat = faiss.IndexFlat(index.d, index.metric_type)
    flat.codes = view(vectors)
    # FAISS wants as many in both, though the index may have fewer, for some were swept out of it; by what it
    # is told last it checks what the index finds.
    flat.ntotal = index.ntotal
    refine = faiss.IndexRefine(index, flat)
    refine.ntotal = len(vectors)
    return refine
