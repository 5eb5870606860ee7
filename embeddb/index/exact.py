"""Exact search: a fast scan over short codes, and a proof that it lost nothing.

The scan gives each query a shortlist, which is scored again in full precision. By the Cauchy-Schwarz
inequality the scan is off by at most

    |q| |x - code(x)| + |q - code(q)| |code(x)| + rounding.

Where the k-th best score of the shortlist beats the last place of the shortlist by more than that, nothing
outside it can belong to the best k. Where it does not, the query is scanned again for a longer shortlist.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.index.codes import CodeMoment
from embeddb.index.faiss_search import faiss_scores
from embeddb.index.metric import ranking
from embeddb.index.shortlist import Shortlist, largest, ranked
from embeddb.index.vectors import Allowed, Moment
from embeddb.query import Metric

__all__ = ["FEW_PLACES", "best", "first", "scan", "scan_all", "scan_places", "score"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

MAX_QUERIES = 64
SHORTLIST_FACTOR, SHORTLIST_EXTRA = 4, 24
WIDEN = 8
# Vectors are multiplied in blocks, which stay in the processor's cache while they are brought to float32.
BLOCK_VECTORS = 8192
MAX_SCORED_BYTES = 16 << 20
"""What the vectors of the shortlists that are scored together may take."""
FEW_PLACES = 1024
"""Up to so many places are scored at once, without a scan before it."""


def scan(
    moment: Moment, codes: CodeMoment | None, queries: Floats, k: int, allowed: Allowed | None
) -> tuple[Floats, Places]:
    """The best k places, exactly.

    Args:
        codes: of the places to look at; None for all, by their vectors.
        queries: (q, d) float32, prepared for the metric.
        allowed: which places may be found; None for all of them.

    Returns:
        Scores (q, k) float32, best first, and places (q, k) int64; minus infinity and -1 where there are no
        more. Of equal scores the lower place comes first.
    """
    parts = [queries[start : start + MAX_QUERIES] for start in range(0, len(queries), MAX_QUERIES)]
    found = [_scan(moment, codes, part, k, allowed) for part in parts]
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])


def scan_all(moment: Moment, queries: Floats, k: int, allowed: Allowed | None) -> tuple[Floats, Places]:
    """`scan` where most places have no codes: their vectors stand for them."""
    return scan(moment, None, queries, k, allowed)


def scan_places(moment: Moment, queries: Floats, k: int, places: Places) -> tuple[Floats, Places]:
    """The best k of some places, in full precision; otherwise as `scan`."""
    part = moment.part(places)
    found, where = scan_all(part, queries, k, None)
    chosen = np.full(where.shape, -1, np.int64)
    chosen[where >= 0] = places[where[where >= 0]]
    return found, chosen


def score(moment: Moment, queries: Floats, places: Places) -> Floats:
    """The scores of candidates in full precision.

    Args:
        queries: (q, d) float32, prepared.
        places: (q, m) int64; -1 for none.

    Returns:
        (q, m) float32, minus infinity for none, and for one that storage does not have any more.
    """
    if moment.is_whole:
        return faiss_scores(moment.metric, queries, moment.kept, places)
    dimension = queries.shape[1]
    step = max(1, MAX_SCORED_BYTES // max(1, 4 * places.shape[1] * dimension))
    found = np.empty(places.shape, np.float32)
    for start in range(0, len(queries), step):
        few = slice(start, start + step)
        taken = moment.take(places[few]).reshape(-1, dimension)
        copies = np.where(places[few] < 0, -1, np.arange(len(taken)).reshape(places[few].shape))
        found[few] = faiss_scores(moment.metric, queries[few], taken, copies)
    found[np.isnan(found)] = -np.inf
    return found


def best(found: Floats, places: Places, k: int) -> tuple[Floats, Places]:
    """The best k candidates (q, k) of (q, m), padded as `scan` says."""
    count, size = found.shape
    order = np.lexsort((places, -found))[:, :k]
    if count > 1:
        order = order + size * np.arange(count)[:, np.newaxis]
    found, places = first(found.take(order), places.take(order), k)
    # What is none is last.
    if -np.inf in found[:, -1].tolist():
        places[found == -np.inf] = -1
    return found, places


def first(found: Floats, places: Places, k: int) -> tuple[Floats, Places]:
    """The first k (q, k) of candidates (q, m) that are in order already, padded as `scan` says."""
    missing = k - found.shape[1]
    if missing <= 0:
        return found[:, :k], places[:, :k]
    sides = ((0, 0), (0, missing))
    return np.pad(found, sides, constant_values=-np.inf), np.pad(places, sides, constant_values=-1)


def _scan(
    moment: Moment, codes: CodeMoment | None, queries: Floats, k: int, allowed: Allowed | None
) -> tuple[Floats, Places]:
    first, n = (0, len(moment)) if codes is None else (codes.first, len(codes))
    if n <= FEW_PLACES:
        places = np.arange(first, first + n)
        if allowed is not None:
            places = places[allowed.mask(first, first + n)]
        places = np.broadcast_to(places, (len(queries), len(places)))
        return best(score(moment, queries, places), places, k)
    results = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    pending = np.arange(len(queries))
    size = SHORTLIST_FACTOR * k + SHORTLIST_EXTRA
    while len(pending):
        size = min(size, n)
        asked = queries[pending]
        if codes is None:
            shortlist = _by_vectors(moment, asked, size, allowed)
        else:
            shortlist = codes.shortlist(asked, size, moment.bias, allowed)
        found = best(score(moment, asked, shortlist.places), shortlist.places, k)
        proven = np.ones(len(pending), np.bool_)
        if size < n:
            complete = np.isneginf(shortlist.ranks[:, -1])
            last = np.where(complete, 0, shortlist.ranks[:, -1])
            kth = ranking(moment.metric, asked, found[0][:, -1:])[:, 0]
            error = 0.0 if codes is None else codes.error
            proven = complete | (kth > last + _bound(moment, error, asked, last, shortlist))
        done = pending[proven]
        results[0][done], results[1][done] = found[0][proven], found[1][proven]
        pending = pending[~proven]
        size *= WIDEN
    return results


def _by_vectors(moment: Moment, queries: Floats, size: int, allowed: Allowed | None) -> Shortlist:
    """The shortlist of all places, where their vectors are their codes."""
    asked = np.ascontiguousarray(queries.T)

    def best_of(start: int, end: int, size: int) -> tuple[Floats, Places]:
        found = np.empty((end - start, len(queries)), np.float32)
        for first in range(start, end, BLOCK_VECTORS):
            block = moment.vectors[first : min(first + BLOCK_VECTORS, end)].astype(np.float32, copy=False)
            np.matmul(block, asked, out=found[first - start : first - start + len(block)])
        if moment.bias is not None:
            found += moment.bias[start:end, np.newaxis]
        if allowed is not None:
            found[~allowed.mask(start, end)] = -np.inf
        values, where = largest(found, size)
        return values, where + start

    rounding = float(np.finfo(np.float32).eps)
    return Shortlist(*ranked(best_of, 0, len(moment), size), rounding, queries)


def _bound(moment: Moment, error: float, queries: Floats, last: Floats, shortlist: Shortlist) -> Floats:
    """By how much a place outside the shortlist may rank higher than `last`, at most; (q,) float32."""
    length = np.linalg.norm(queries, axis=1)
    longest = moment.longest + error
    off = length * error + np.linalg.norm(queries - shortlist.asked, axis=1) * longest
    summed = rounded = length * longest
    if moment.metric is Metric.L2:
        summed = summed + (length**2 + longest**2) / 2
    else:
        # Without a bias, what was rounded last of all is what is compared.
        rounded = np.abs(last)
    # Sums are of float32, in any order, here and in the scores; products are rounded to the codes' type.
    summing = 4 * queries.shape[1] * np.finfo(np.float32).eps * summed
    bound: Floats = (off + summing + shortlist.rounding * rounded).astype(np.float32)
    return bound
