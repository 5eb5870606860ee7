"""FAISS's search with parameters, as its Python wrapper takes them and its type stubs do not know."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.index.vectors import Allowed

__all__ = ["faiss_search", "selector"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


def faiss_search(index: faiss.Index, queries: Floats, k: int, parameters: Any) -> tuple[Floats, Places]:
    """The scores (q, k) and ids (q, k) of the best of each query (q, d); -1 for none."""
    # faiss.contrib.torch_utils, which other libraries import, puts a `search` without `params` in the place
    # of FAISS's own, and keeps that one under another name.
    search = getattr(index, "search_numpy", index.search)
    scores, ids = search(queries, k, params=parameters)
    return scores, ids


def selector(allowed: Allowed) -> faiss.IDSelectorBitmap:
    """What lets FAISS find these places alone; it reads their bits where they are."""
    return faiss.IDSelectorBitmap(allowed.bits)  # type: ignore[call-arg, arg-type]
