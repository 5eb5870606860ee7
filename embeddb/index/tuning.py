"""How much effort an approximate index takes to be good, and how long a shortlist, measured on the space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from embeddb.index.policy import ACCURACY_RECALL, SPEED_RECALL
from embeddb.index.sample import Sample
from embeddb.index.tuned import Measured, Point, Shortlist, candidates
from embeddb.index.vectors import Moment

__all__ = ["GRAPH_FACTOR", "Rank", "measure", "read_off"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Rank = Callable[[Floats, int, int], Places]
"""The living places (q, size) that rank best for queries (q, d): `rank(queries, size, effort)`."""

# The hits that efforts are measured for, and by how many queries; for the most of them where there are many
# times as many vectors.
NEAR_HITS, FAR_HITS = (10, 20, 50, 100), (200, 500, 1000)
NEAR_QUERIES, FAR_QUERIES = 200, 50
MIN_FAR_SHARE = 10
# A graph keeps 22 candidates for eleven hits in any case; what it is tuned to, filters multiply.
MIN_LISTS, MIN_CANDIDATES = 4, 24
# A graph that keeps fewer candidates than twice the hits misses many of the last of them.
GRAPH_FACTOR = 2
# After an effort, one that is so many times as large is tried. What lies between is read off for lists alone:
# a sample is kinder to a graph than what is new, and the rest of a step makes up for that.
STEP, GRAPH_STEP = 2**0.5, 2**0.25
# Whole vectors rank as they score. Of codes it is measured: the shortest list that finds nearly what the
# longest does.
WHOLE = (1.0, 0)
SHORTLISTS = (1.5, 5), (2.0, 8), (3.0, 10), (4.0, 24), (6.0, 60)
MAX_LOST_RECALL = 0.005


def measure(
    moment: Moment,
    rank: Rank,
    has_codes: bool,
    graph: bool,
    most: int,
    recall: float,
    go_on: Callable[[], bool],
) -> Sequence[Measured] | None:
    """Measure how long shortlists have to be, and what efforts give with them.

    Args:
        moment: the places that the index has.
        rank: asks the index.
        has_codes: whether it ranks by codes, and not as the vectors score.
        graph: whether the index is one, in which who asks for more keeps more candidates, and finds more.
        most: the largest effort that there is.
        recall: what is asked for.
        go_on: says whether to.

    Returns:
        What was measured, by hits ascending; None where `go_on` ended it.
    """
    first = MIN_CANDIDATES if graph else MIN_LISTS
    measured: list[Measured] = []
    try:
        for hits, queries in _hits(moment.living.count, graph):
            sample = Sample.draw(moment, graph, queries, hits[-1])
            longest = SHORTLISTS[-1] if has_codes else WHOLE
            asked = _Asked(sample, rank, None if graph else candidates(hits[-1] + 1, longest), go_on)
            for k in hits:
                # What is too little for fewer hits is the first that is tried for more.
                first = min(most, max(first, GRAPH_FACTOR * (k + 1)) if graph else first)
                efforts = _efforts(first, most, GRAPH_STEP if graph else STEP)
                shortlist = _long_enough(asked, k, efforts, recall) if has_codes else WHOLE
                curve = _curve(partial(asked.recall, k, shortlist), efforts, max(ACCURACY_RECALL, recall))
                measured.append(Measured(k, curve if graph else _refined(curve, recall), shortlist))
                little = min(SPEED_RECALL, recall)
                first = max(
                    (each.effort for each in measured[-1].curve if each.recall < little), default=first
                )
    except _EndedError:
        return None
    return tuple(measured)


def _hits(vectors: int, graph: bool) -> Sequence[tuple[Sequence[int], int]]:
    """For how many hits to measure, ascending, and by how many queries."""
    # A graph is asked for each of them by itself, and what it keeps grows with the hits in any case.
    near = NEAR_HITS[:: len(NEAR_HITS) - 1] if graph else NEAR_HITS, NEAR_QUERIES
    far = FAR_HITS[-1:] if graph else FAR_HITS, FAR_QUERIES
    return (near,) if vectors < MIN_FAR_SHARE * FAR_HITS[-1] else (near, far)


def _efforts(first: int, most: int, step: float) -> Sequence[int]:
    """The efforts to try, ascending."""
    efforts = [first]
    while efforts[-1] < most:
        efforts.append(min(most, max(efforts[-1] + 1, round(efforts[-1] * step))))
    return efforts


class _EndedError(Exception):
    """Whoever asked does not want to know any more."""


class _Asked:
    """What an index was asked, so that it is not asked again.

    Args:
        sample: the queries.
        rank, go_on: as of `measure`.
        size: how many places it is asked for, of which the first are what it gives who asks for fewer; None
            where they are not.
    """

    def __init__(self, sample: Sample, rank: Rank, size: int | None, go_on: Callable[[], bool]) -> None:
        self._sample = sample
        self._rank = rank
        self._size = size
        self._go_on = go_on
        self._ranks: dict[tuple[int, int], Places] = {}

    def recall(self, k: int, shortlist: Shortlist, effort: int, among: Shortlist | None = None) -> float:
        """The recall of k hits with a shortlist, which is the first of a longer one if that is given.

        What is among the candidates would be among the hits, so none has to be scored.

        Raises:
            _EndedError: `go_on` said no.
        """
        size = self._size or candidates(k + 1, among or shortlist)
        if (effort, size) not in self._ranks:
            if not self._go_on():
                raise _EndedError
            found = self._rank(self._sample.queries, size, effort)
            self._ranks[effort, size] = self._sample.ranks(found)
        return self._sample.recall(self._ranks[effort, size], k, candidates(k + 1, shortlist))


def _curve(recall_of: Callable[[int], float], efforts: Sequence[int], enough: float) -> Sequence[Point]:
    """What efforts give, up to the first that gives enough."""
    points: list[Point] = []
    for effort in efforts:
        points.append(Point(effort, recall_of(effort)))
        if points[-1].recall >= enough:
            break
    return tuple(points)


def _refined(curve: Sequence[Point], recall: float) -> Sequence[Point]:
    """A curve of lists, with the efforts that searches of some recall ask for."""
    asked = min(SPEED_RECALL, recall), recall, max(ACCURACY_RECALL, recall)
    return tuple(sorted({*curve, *(read_off(curve, each) for each in asked)}, key=lambda each: each.effort))


def read_off(curve: Sequence[Point], recall: float) -> Point:
    """The least number of lists that gives a recall; the most of the curve if none does.

    Each further list has fewer of the nearest than the one before, so that a curve lies above the straight
    line between two of its points, and what is read off that line is enough.
    """
    after = next((n for n, each in enumerate(curve) if each.recall >= recall), len(curve) - 1)
    above = curve[after]
    if after == 0 or above.recall <= recall:
        return above
    below = curve[after - 1]
    share = (recall - below.recall) / (above.recall - below.recall)
    effort = below.effort + math.ceil(share * (above.effort - below.effort))
    return above if effort == above.effort else Point(effort, recall)


def _long_enough(asked: _Asked, k: int, efforts: Sequence[int], recall: float) -> Shortlist:
    """The shortest shortlist that finds nearly what the longest does, with effort that is enough for that."""
    longest = SHORTLISTS[-1]
    enough = _curve(partial(asked.recall, k, longest), efforts, recall)[-1]
    wanted = enough.recall - MAX_LOST_RECALL
    return next(each for each in SHORTLISTS if asked.recall(k, each, enough.effort, longest) >= wanted)
