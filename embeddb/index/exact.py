"""Exact search: a fast scan over short codes, and a proof that it lost nothing.

The scan multiplies bfloat16 copies of the vectors, which are half to read and which matrix units multiply
several times faster than float32. It gives each query a shortlist, which is scored again in float32. By the
Cauchy-Schwarz inequality the scan is off by at most

    |q| |x - code(x)| + |q - code(q)| |code(x)| + rounding.

Where the k-th best score of the shortlist beats the last place of the shortlist by more than that, nothing
outside it can belong to the best k. Where it does not, the query is scanned again for a longer shortlist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from embeddb.index.metric import ranking, scores
from embeddb.index.vectors import Moment
from embeddb.query import Metric

__all__ = ["CodeMoment", "Codes", "best", "scan", "scan_all", "scan_places", "score"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BLOCK_PLACES = 65_536
MAX_QUERIES = 64
GROUP = 64
SHORTLIST_FACTOR, SHORTLIST_EXTRA = 4, 24
WIDEN = 8
MAX_SCORED_BYTES = 64 << 20
"""What the vectors of the shortlists that are scored together may take."""
FIRST_CAPACITY = 1024
GROWTH = 1.5


@dataclass(frozen=True, eq=False)
class CodeMoment:
    """The codes of the places from `first` on, as a search sees them.

    Attributes:
        codes: (n, d).
        error: the largest |x - code(x)| of them.
    """

    first: int
    codes: torch.Tensor
    error: float


class Codes:
    """bfloat16 copies of the vectors from one place on. One thread changes them.

    Args:
        first: the place of the first copy.
        vectors: (n, d) float32, those of the places from `first` on.
    """

    def __init__(self, first: int, vectors: torch.Tensor) -> None:
        self.first = first
        self._count = 0
        self._error = 0.0
        shape = (max(len(vectors), FIRST_CAPACITY), vectors.shape[1])
        self._codes = torch.empty(shape, dtype=torch.bfloat16)
        for start in range(0, len(vectors), BLOCK_PLACES):
            self.append(vectors[start : start + BLOCK_PLACES])

    def append(self, vectors: torch.Tensor) -> None:
        """Copy the vectors (n, d) float32 of the next places, one at least."""
        end = self._count + len(vectors)
        if end > len(self._codes):
            grown = self._codes.new_empty((max(end, int(len(self._codes) * GROWTH)), vectors.shape[1]))
            grown[: self._count] = self._codes[: self._count]
            self._codes = grown
        codes = vectors.to(torch.bfloat16)
        errors = torch.linalg.vector_norm(vectors - codes.float(), dim=1)
        self._error = max(self._error, float(errors.amax()))
        self._codes[self._count : end] = codes
        self._count = end

    def moment(self) -> CodeMoment:
        """The codes as they are now."""
        return CodeMoment(self.first, self._codes[: self._count], self._error)


def scan(
    moment: Moment, codes: CodeMoment, queries: torch.Tensor, k: int, allowed: Mask | None
) -> tuple[Floats, Places]:
    """The best k of the places that have codes, exactly.

    Args:
        queries: (q, d) float32, prepared for the metric.
        allowed: (n,) bool over the places that have codes, those that may be found; None for all of them.

    Returns:
        Scores (q, k) float32, best first, and places (q, k) int64; minus infinity and -1 where there are no
        more. Of equal scores the lower place comes first.
    """
    found = [_scan(moment, codes, part, k, allowed) for part in torch.split(queries, MAX_QUERIES)]
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])


def scan_all(moment: Moment, queries: torch.Tensor, k: int, allowed: Mask | None) -> tuple[Floats, Places]:
    """`scan` for places that have no codes: their vectors stand for them."""
    return scan(moment, CodeMoment(0, moment.vectors, 0.0), queries, k, allowed)


def scan_places(moment: Moment, queries: torch.Tensor, k: int, places: Places) -> tuple[Floats, Places]:
    """The best k of some places, in full precision; otherwise as `scan`."""
    part = moment.part(places)
    found, where = scan_all(part, queries, k, None)
    chosen = np.full(where.shape, -1, np.int64)
    chosen[where >= 0] = places[where[where >= 0]]
    return found, chosen


def score(moment: Moment, queries: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The scores of candidates in full precision.

    Args:
        queries: (q, d) float32, prepared.
        places: (q, m) int64; -1 for none.

    Returns:
        (q, m) float32, minus infinity for none.
    """
    step = max(1, MAX_SCORED_BYTES // max(1, 4 * places.shape[1] * queries.shape[1]))
    parts = [
        scores(moment.metric, few, moment.vectors[chosen.clamp(min=0)])
        for few, chosen in zip(torch.split(queries, step), torch.split(places, step), strict=True)
    ]
    return torch.cat(parts).masked_fill(places < 0, -torch.inf)


def best(found: Floats, places: Places, k: int) -> tuple[Floats, Places]:
    """The best k candidates (q, k) of (q, m), padded as `scan` says."""
    order = np.lexsort((places, -found))[:, :k]
    found, places = np.take_along_axis(found, order, 1), np.take_along_axis(places, order, 1)
    places[np.isneginf(found)] = -1
    if found.shape[1] == k:
        # To pad by nothing would take a tenth of a lone approximate search.
        return found, places
    missing = ((0, 0), (0, k - found.shape[1]))
    return (
        np.pad(found, missing, constant_values=-np.inf),
        np.pad(places, missing, constant_values=-1),
    )


def _scan(
    moment: Moment, codes: CodeMoment, queries: torch.Tensor, k: int, allowed: Mask | None
) -> tuple[Floats, Places]:
    n = len(codes.codes)
    results = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    pending = torch.arange(len(queries))
    size = SHORTLIST_FACTOR * k + SHORTLIST_EXTRA
    while len(pending) and n:
        size = min(size, n)
        asked = queries[pending]
        approximate, places = _shortlist(moment, codes, asked, size, allowed)
        rescored = score(moment, asked, places)
        found = best(rescored.numpy(), places.numpy(), k)
        proven = torch.ones(len(pending), dtype=torch.bool)
        if size < n:
            last = approximate[:, -1]
            kth = ranking(moment.metric, asked, torch.from_numpy(found[0][:, -1:]))[:, 0]
            proven = (kth > last + _bound(moment, codes, asked, last)) | last.isneginf()
        done = pending[proven].numpy()
        results[0][done], results[1][done] = found[0][proven.numpy()], found[1][proven.numpy()]
        pending = pending[~proven]
        size *= WIDEN
    return results


def _shortlist(
    moment: Moment, codes: CodeMoment, queries: torch.Tensor, size: int, allowed: Mask | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `size` places of each query that rank best by their codes.

    Returns:
        What they rank by (q, size) float32, best first, minus infinity where no more are allowed; and the
        places (q, size) int64, -1 there.
    """
    asked = queries.to(codes.codes).T
    ranks, places = [], []
    for start in range(0, len(codes.codes), BLOCK_PLACES):
        block = codes.codes[start : start + BLOCK_PLACES]
        first = codes.first + start
        # The data first: a tall matrix times a narrow one is faster than the other way round.
        found = block @ asked
        if moment.bias is not None:
            found = found.float() + moment.bias[first : first + len(block), None]
        if allowed is not None:
            barred = torch.from_numpy(~allowed[start : start + len(block)])
            found.masked_fill_(barred[:, None], -torch.inf)
        rank, place = _top(found, min(size, len(block)))
        ranks.append(rank)
        places.append(place + first)
    rank, chosen = torch.cat(ranks, dim=1).topk(size, dim=1)
    place = torch.cat(places, dim=1).gather(1, chosen).masked_fill(rank.isneginf(), -1)
    return rank, place


def _top(found: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `size` largest of each column of (n, q): values (q, size) float32, best first, and where they are.

    The groups with the largest maxima hold them, and are few; to sort these alone is several times faster.
    """
    n, q = found.shape
    groups = n // GROUP
    if groups < 2 * size:
        values, where = found.T.float().topk(size, dim=1)
        return values, where
    grouped = found[: groups * GROUP].view(groups, GROUP, q)
    chosen = grouped.amax(1).T.contiguous().topk(size, dim=1).indices
    # Behind the members of the chosen groups come those that make no full group.
    inside = grouped.permute(2, 0, 1)[torch.arange(q)[:, None], chosen].flatten(1)
    values, where = torch.cat([inside, found[groups * GROUP :].T], dim=1).float().topk(size, dim=1)
    member = chosen.gather(1, (where // GROUP).clamp(max=size - 1)) * GROUP + where % GROUP
    return values, torch.where(where < size * GROUP, member, where + (groups - size) * GROUP)


def _bound(moment: Moment, codes: CodeMoment, queries: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """By how much a place outside the shortlist may rank higher than `last`, at most; (q,) float32."""
    length = torch.linalg.vector_norm(queries, dim=1)
    longest = moment.longest + codes.error
    coded = queries.to(codes.codes.dtype).float()
    error = length * codes.error + torch.linalg.vector_norm(queries - coded, dim=1) * longest
    summed = rounded = length * longest
    if moment.metric is Metric.L2:
        summed = summed + (length.square() + longest**2) / 2
    else:
        # Without a bias, what was rounded last of all is what is compared.
        rounded = last.abs()
    # Sums are of float32, in any order, here and in the scores; products are rounded to the codes' type.
    summing = 4 * queries.shape[1] * torch.finfo(torch.float32).eps * summed
    bound: torch.Tensor = error + summing + torch.finfo(codes.codes.dtype).eps * rounded
    return bound
