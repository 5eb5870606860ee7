"""FAISS's functions of arrays, called where its Python wrappers call them, which take a lone query longer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from faiss import swig_ptr

from embeddb.index.vectors import Allowed
from embeddb.query import Metric

__all__ = ["OneThread", "as_scores", "faiss_scores", "faiss_search", "selector", "view"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


def faiss_search(index: Any, queries: Floats, k: int, parameters: Any) -> tuple[Floats, Places]:
    """The scores (q, k) and ids (q, k) of the best of each query (q, d), contiguous; -1 for none."""
    count = len(queries)
    scores, ids = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
    index.search_c(count, swig_ptr(queries), k, swig_ptr(scores), swig_ptr(ids), parameters)
    return scores, ids


def faiss_scores(metric: Metric, queries: Floats, vectors: Floats, places: Places) -> Floats:
    """The scores of candidates: the cosine, the inner product, or minus the Euclidean distance.

    Args:
        queries: (q, d) float32, prepared, contiguous.
        vectors: (n, d) float32, prepared, contiguous; those of the candidates are read where they are.
        places: (q, m) int64, of the candidates among the vectors; -1 for none.

    Returns:
        (q, m) float32, minus infinity for none.
    """
    places = np.ascontiguousarray(places)
    found = np.empty(places.shape, np.float32)
    arrays = swig_ptr(found), swig_ptr(queries), swig_ptr(vectors), swig_ptr(places)
    # FAISS shares out queries, and for a lone one would wake threads that have nothing to do.
    with OneThread() if len(queries) == 1 else nullcontext():
        if metric is not Metric.L2:
            faiss.fvec_inner_products_by_idx(*arrays, queries.shape[1], *places.shape)  # type: ignore[attr-defined]
            return found
        faiss.fvec_L2sqr_by_idx(*arrays, queries.shape[1], *places.shape)  # type: ignore[attr-defined]
        return -np.sqrt(found)


def as_scores(found: Floats, places: Places, *, is_l2: bool) -> Floats:
    """What FAISS says of the places (q, k) that it found, best first, made into scores in their place.

    Args:
        found: (q, k) float32: squared distances or inner products; changed.
        is_l2: whether they are distances.

    Returns:
        The scores of `faiss_scores`.
    """
    if is_l2:
        np.negative(np.sqrt(found, out=found), out=found)
    # What is none is last.
    if -1 in places[:, -1].tolist():
        found[places < 0] = -np.inf
    return found


class OneThread:
    """Inside, what FAISS does for the calling thread stays on it; how many OpenMP takes is a thread's own."""

    def __enter__(self) -> None:
        self._most = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        faiss.omp_set_num_threads(self._most)


def selector(allowed: Allowed) -> faiss.IDSelectorBitmap:
    """What lets FAISS find these places alone; it reads their bits where they are."""
    return faiss.IDSelectorBitmap(allowed.bits)  # type: ignore[call-arg, arg-type]


def view(array: npt.NDArray[Any]) -> Any:
    """The bytes of an array as codes of an index of FAISS, which reads them where they are.

    FAISS has such views for the files that it maps, and keeps their owner. Numpy's memory has none that FAISS
    knows: whoever searches holds the array meanwhile.
    """
    # FAISS's type stubs do not know them.
    views: Any = faiss.MaybeOwnedVectorUInt8
    return views.create_view(swig_ptr(array), array.nbytes, views().owner)
