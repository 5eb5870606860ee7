"""FAISS's search with parameters, as its Python wrapper takes them and its type stubs do not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.index.vectors import Allowed

__all__ = ["faiss_search", "one_thread", "selector"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


def faiss_search(index: faiss.Index, queries: Floats, k: int, parameters: Any) -> tuple[Floats, Places]:
    """The scores (q, k) and ids (q, k) of the best of each query (q, d); -1 for none."""
    # faiss.contrib.torch_utils, which other libraries import, puts a `search` without `params` in the place
    # of FAISS's own, and keeps that one under another name.
    search = getattr(index, "search_numpy", index.search)
    scores, ids = search(queries, k, params=parameters)
    return scores, ids


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, what FAISS does for the calling thread stays on it; how many OpenMP takes is a thread's own."""
    most = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(most)


def selector(allowed: Allowed) -> faiss.IDSelectorBitmap:
    """What lets FAISS find these places alone; it reads their bits where they are."""
    return faiss.IDSelectorBitmap(allowed.bits)  # type: ignore[call-arg, arg-type]
