"""The tail: the few places that are not in the approximate index yet, scanned for a lone query."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from faiss import swig_ptr

from embeddb.index.exact import first
from embeddb.index.faiss_search import as_scores, selector
from embeddb.index.vectors import Allowed, Moment
from embeddb.query import Metric

__all__ = ["merged", "scan_tail"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

# For a lone query so many vectors are read in a millisecond. Short codes of more are read faster.
MOST_PLACES = 4096


def scan_tail(
    moment: Moment, start: int, queries: Floats, k: int, allowed: Allowed | None
) -> tuple[Floats, Places] | None:
    """The best k of the places from one on, by one call of FAISS on this thread.

    `scan` lets go of Python's lock two dozen times, and beside puts another thread takes it as often. Of more
    than a thousand places it also wakes FAISS's threads, and waits until each of them had a core.

    Args:
        start: the first place.
        queries: (1, d) float32, prepared.
        allowed: which places may be found; None for all of them.

    Returns:
        As `embeddb.index.exact.scan`, not padded; None where that has to do it: for several queries, for too
        many places, where not all vectors are here in float32, and where the last scores are equal.
    """
    vectors = moment.kept[start : len(moment)]
    if len(queries) > 1 or len(vectors) > MOST_PLACES or not moment.is_whole:
        return None
    # One more tells whether FAISS had to choose among equals, which it does in its own way.
    size = min(k + 1, len(vectors))
    found, places = np.empty((1, size), np.float32), np.empty((1, size), np.int64)
    is_l2 = moment.metric is Metric.L2
    # FAISS's type stubs know fewer of their arguments.
    nearest: Any = faiss.knn_L2sqr if is_l2 else faiss.knn_inner_product
    chosen = None if allowed is None else selector(allowed.since(start))
    read = swig_ptr(queries), swig_ptr(vectors), queries.shape[1], 1, len(vectors), size
    lengths = (None,) if is_l2 else ()
    nearest(*read, swig_ptr(found), swig_ptr(places), *lengths, chosen)
    found = as_scores(found, places, is_l2=is_l2)
    if size > k and found[0, k] == found[0, k - 1] and places[0, k] >= 0:
        return None
    places[places >= 0] += start
    return found[:, :k], places[:, :k]


def merged(one: tuple[Floats, Places], other: tuple[Floats, Places], k: int) -> tuple[Floats, Places]:
    """The best k of a lone query's two rankings (1, m) and (1, n), padded as `scan` says.

    Of equal scores the lower place comes first. By Python's own sort: `best` lets go of Python's lock.
    """
    scores = one[0][0].tolist() + other[0][0].tolist()
    places = one[1][0].tolist() + other[1][0].tolist()
    # What is none is at no place, and behind all others.
    ranked = sorted((-score, place) for score, place in zip(scores, places, strict=True) if place >= 0)[:k]
    found = np.array([[-score for score, _ in ranked]], np.float32)
    return first(found, np.array([[place for _, place in ranked]], np.int64), k)
