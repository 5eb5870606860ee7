"""FAISS's parameters of a search."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import faiss

from embeddb.index.centres import search_of_centres

__all__ = ["plain_parameters", "search_parameters"]


def search_parameters(
    graph: bool,
    coded_centres: bool,
    transforms: bool,
    refines: bool,
    amount: int,
    selector: faiss.IDSelectorBitmap | None,
) -> Any:
    """FAISS's own of a search in a graph or in lists, with so many candidates or lists.

    Args:
        coded_centres: whether the centres of the lists have codes.
        transforms: whether the index stands behind a transform.
        refines: whether it stands under `IndexRefine`, which scores what it finds and leaves none of it out.
        selector: of the places that may be found; None for all.
    """
    # FAISS's Python wrapper gives these classes keywords, which its type stubs do not know.
    parameters: Any
    if graph:
        parameters = faiss.SearchParametersHNSW(efSearch=amount, sel=selector)  # type: ignore[attr-defined]
    else:
        centres = search_of_centres(amount) if coded_centres else None
        parameters = faiss.SearchParametersIVF(nprobe=amount, sel=selector, quantizer_params=centres)  # type: ignore[call-arg]
        if transforms:
            parameters = faiss.SearchParametersPreTransform(index_params=parameters)  # type: ignore[call-arg]
    if refines:
        return faiss.IndexRefineSearchParameters(base_index_params=parameters)  # type: ignore[call-arg]
    return parameters


# Without a filter a few serve all searches: FAISS only reads them, and making one takes several us.
plain_parameters = lru_cache(maxsize=64)(search_parameters)
