"""A space's index beside FAISS's own search of it: the same index, the same parameters, in turns."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.index import SpaceIndex
from embeddb.index.approximate import Approximate
from embeddb.index.tuned import candidates

K = 10
RECALL = 0.95
Floats = npt.NDArray[np.float32]


def bare(index: SpaceIndex) -> Callable[[Floats], object]:
    """FAISS's own search of the approximate index that serves, with the parameters that it serves with.

    It ranks by the codes alone, so of short ones it finds less than the space's index does.
    """
    approximate = _approximate(index)
    parameters = approximate._parameters(approximate.tuned.effort(RECALL, K), K, None)
    return lambda queries: approximate.index.search(queries, K, params=parameters)


def refined(index: SpaceIndex) -> Callable[[Floats], object]:
    """The same, and as many candidates scored again by FAISS's `IndexRefine`, which has the vectors too."""
    approximate = _approximate(index)
    tuned = approximate.tuned
    shortlist = candidates(K, tuned.shortlist(K))
    whole = faiss.IndexFlat(approximate.index.d, approximate.index.metric_type)
    whole.add(index._contents.state.moment.vectors.astype(np.float32, copy=False))
    refining = faiss.IndexRefine(approximate.index, whole)
    parameters = faiss.IndexRefineSearchParameters(
        k_factor=shortlist / K,
        base_index_params=approximate._parameters(tuned.effort(RECALL, K), shortlist, None),
    )
    return lambda queries: refining.search(queries, K, params=parameters)


def _approximate(index: SpaceIndex) -> Approximate:
    approximate = index._contents.state.approximate
    assert approximate is not None
    return approximate
