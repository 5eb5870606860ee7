"""How much effort an approximate index takes to be good, and how long a shortlist, measured on the space."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from embeddb.index.exact import scan_all
from embeddb.index.metric import prepared
from embeddb.index.vectors import Moment

__all__ = ["MAX_EXTRA", "Measured", "Point", "Shortlist", "Tuned", "candidates", "measure"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Shortlist = tuple[float, int]
"""How many candidates are scored again for k hits: so many times k, and so many more."""
Find = Callable[[Floats, int, int], Places]
"""The nearest places (q, k) of queries (q, d), found with an effort: `find(queries, k, effort)`."""
Search = Callable[[Shortlist, Floats, int, int], Places]
"""The same, with a shortlist: `search(shortlist, queries, k, effort)`."""

# The hits that efforts are measured for, and by how many queries; for the most of them where there are many
# times as many vectors.
TUNED_K, WIDE_K, FAR_K = 10, 100, 1000
SAMPLE_QUERIES, FAR_QUERIES = 200, 50
MIN_FAR_SHARE = 10
# A graph keeps 22 candidates for eleven hits in any case; what it is tuned to, filters multiply.
MIN_LISTS, MIN_CANDIDATES = 4, 24
# More hits take more effort: what gives this recall of fewer, or less if less is asked for, is tried first.
LITTLE_RECALL = 0.9
ENOUGH_RECALL = 0.995
STEP = 2**0.25
# Whole vectors rank as they score. Of codes it is measured: the shortest list that finds nearly what the
# longest does.
WHOLE = (1.0, 0)
SHORTLISTS = (1.5, 5), (2.0, 8), (3.0, 10), (4.0, 24), (6.0, 60)
MAX_LOST_RECALL = 0.005
MAX_EXTRA = 2000


@dataclass(frozen=True)
class Point:
    """What an effort gives.

    Attributes:
        effort: how many lists of an IVF index are probed (nprobe), or how many candidates an HNSW graph keeps
            (efSearch).
        recall: the share of the exact nearest that are found so, measured on a sample of queries.
    """

    effort: int
    recall: float


def least(curve: Sequence[Point], recall: float) -> Point:
    """The least effort that gave a recall; the most that was tried if none did."""
    for each in curve:
        if each.recall >= recall:
            return each
    return curve[-1]


@dataclass(frozen=True)
class Measured:
    """What was measured for some number of hits.

    Attributes:
        k: how many.
        curve: what efforts give, ascending; one point at least.
        shortlist: how many candidates a search scores again, as a factor of its hits, and so many more.
    """

    k: int
    curve: Sequence[Point]
    shortlist: Shortlist


@dataclass(frozen=True)
class Tuned:
    """What was measured of an index.

    Attributes:
        measured: for ten hits, for a hundred and, of many vectors, for a thousand.
        places: how many there were.
        work: what share of its vectors a search that is as good as asked for reads.
        built_for: how many vectors lived when the index was built.
        built_work: the work then.
    """

    measured: Sequence[Measured]
    places: int
    work: float
    built_for: int
    built_work: float

    @property
    def curve(self) -> Sequence[Point]:
        """What efforts give for ten hits."""
        return self.measured[0].curve

    @property
    def most_hits(self) -> int:
        """The most hits that anything was measured for."""
        return self.measured[-1].k

    def least(self, recall: float) -> Point:
        """The least effort that gave a recall of ten hits; the most that was tried if none did."""
        return least(self.curve, recall)

    def effort(self, recall: float, k: int) -> int:
        """The effort that gives a recall of k hits.

        The farther away the hits lie, the more lists they are in: as a power of k, which is known from the
        two next to it that were measured.
        """
        # One more was asked for where they were measured, as whoever wants to know of equals asks for one.
        if k <= TUNED_K + 1:
            return self.least(recall).effort
        efforts = list(accumulate((least(each.curve, recall).effort for each in self.measured), max))
        # What is beyond the most hits that were measured goes on from the last two.
        more = next((n for n, each in enumerate(self.measured) if k <= each.k), len(efforts) - 1)
        few = self.measured[more - 1].k
        power = math.log(efforts[more] / efforts[more - 1]) / math.log(self.measured[more].k / few)
        return round(efforts[more - 1] * math.pow(k / few, power))

    def shortlist(self, k: int) -> Shortlist:
        """How many candidates a search for k hits scores again, as those next to it that were measured do."""
        if k <= TUNED_K + 1:
            return self.measured[0].shortlist
        fewer = [each for each in self.measured if each.k <= k]
        more = [each for each in self.measured if k <= each.k + 1]
        return max((each.shortlist for each in fewer[-1:] + more[:1]), key=partial(candidates, k))

    @property
    def drift(self) -> float:
        """How many times as large a share of its vectors a search reads as when the index was new.

        What was added since may lie where few lists are, which grow long, or where the codes do not reach, so
        that more lists have to be probed.
        """
        return self.work / self.built_work


@dataclass(frozen=True, eq=False)
class Sample:
    """Queries that are items, of which each finds the others, or like items; and what they should find.

    Attributes:
        queries: (q, d) float32.
        left_out: (q,) int64: the place of each query that is an item; -1 of one that is none.
        exact: (q, m) int64: the nearest places, best first; -1 for none.
    """

    queries: Floats
    left_out: Places
    exact: Places

    @classmethod
    def draw(cls, moment: Moment, graph: bool, count: int, k: int) -> Sample:
        """A sample of a space.

        Args:
            moment: the places that the index has.
            graph: whether the index is one, which finds what it holds more easily than what is new.
            count: how many queries, at most.
            k: how many hits it is for, at most.
        """
        rng = np.random.default_rng(1)
        living = moment.living_places()
        items = np.sort(rng.choice(living, min(count, len(living)), replace=False))
        queries = moment.vectors[items].astype(np.float32, copy=False)
        left_out = items
        if graph:
            near = scan_all(moment, queries, TUNED_K + 1, moment.allowed(None))[1]
            queries = _beside(moment, items, near, rng)
            left_out = np.full(len(items), -1)
        return cls(queries, left_out, scan_all(moment, queries, k + 1, moment.allowed(None))[1])

    def recall(self, found: Places, k: int) -> float:
        """The share of the k nearest, the query aside, that are among those found (q, m).

        It is what is left of the mean after its standard error, so that a lucky sample does not promise too
        much.
        """
        shares = np.array(
            [_share(*each) for each in zip(self.left_out, self.exact[:, : k + 1], found, strict=True)]
        )
        return float(shares.mean() - shares.std() / np.sqrt(len(shares)))


def candidates(k: int, shortlist: Shortlist) -> int:
    """How many candidates are scored again for k hits."""
    factor, extra = shortlist
    return k + min(int((factor - 1) * k) + extra, MAX_EXTRA)


def measure(
    moment: Moment,
    rank: Find | None,
    search: Search,
    recall: float,
    most: int,
    graph: bool,
    go_on: Callable[[], bool],
) -> Sequence[Measured] | None:
    """Measure how long shortlists have to be, and what efforts give with them.

    Args:
        moment: the places that the index has.
        rank: gives as many places as it is told, best first by their codes; None where they rank as they
            score.
        search: scores again.
        recall: what is asked for.
        most: the largest effort that there is.
        graph: whether the index is one.
        go_on: says whether to.

    Returns:
        What was measured, by hits ascending; None where `go_on` ended it.
    """
    first = enough = min(MIN_CANDIDATES if graph else MIN_LISTS, most)
    measured: list[Measured] = []
    for k, sample in _samples(moment, graph).items():
        shortlist = WHOLE if rank is None else _long_enough(sample, k, rank, recall, enough, most, go_on)
        if shortlist is None:
            return None
        curve = _curve(sample, k, partial(search, shortlist), first, most, go_on, ENOUGH_RECALL)
        if curve is None:
            return None
        measured.append(Measured(k, curve, shortlist))
        first, enough = least(curve, min(LITTLE_RECALL, recall)).effort, least(curve, recall).effort
    return tuple(measured)


def _samples(moment: Moment, graph: bool) -> Mapping[int, Sample]:
    """What to measure with, by hits ascending."""
    near = Sample.draw(moment, graph, SAMPLE_QUERIES, WIDE_K)
    if moment.living.count < MIN_FAR_SHARE * FAR_K:
        return {TUNED_K: near, WIDE_K: near}
    return {TUNED_K: near, WIDE_K: near, FAR_K: Sample.draw(moment, graph, FAR_QUERIES, FAR_K)}


def _curve(
    sample: Sample, k: int, find: Find, first: int, most: int, go_on: Callable[[], bool], enough: float
) -> Sequence[Point] | None:
    """Measure what efforts give for k hits.

    Args:
        find: looks into the index.
        first: the least effort to try.
        most, go_on: as of `measure`.
        enough: the recall beyond which no more effort is tried.

    Returns:
        Points with ascending efforts, the last one with the most that is of use; None where `go_on` ended it.
    """
    points: list[Point] = []
    effort = first
    while go_on():
        points.append(Point(effort, sample.recall(find(sample.queries, k + 1, effort), k)))
        if effort == most or points[-1].recall >= enough:
            return tuple(points)
        effort = min(most, max(effort + 1, round(effort * STEP)))
    return None


def _long_enough(
    sample: Sample, k: int, rank: Find, recall: float, first: int, most: int, go_on: Callable[[], bool]
) -> Shortlist | None:
    """The shortest shortlist that finds nearly what the longest does, for k hits.

    It is compared at an effort that is enough with the longest. What is among the candidates would be among
    the hits, so none has to be scored.

    Args:
        rank, recall, first, most, go_on: as of `measure` and `_curve`.

    Returns:
        None where `go_on` ended it.
    """

    def find(queries: Floats, k: int, effort: int) -> Places:
        return rank(queries, candidates(k, SHORTLISTS[-1]), effort)

    points = _curve(sample, k, find, first, most, go_on, recall)
    if points is None:
        return None
    found = find(sample.queries, k + 1, points[-1].effort)
    wanted = points[-1].recall - MAX_LOST_RECALL
    return next(
        each for each in SHORTLISTS if sample.recall(found[:, : candidates(k + 1, each)], k) >= wanted
    )


def _beside(moment: Moment, items: Places, near: Places, rng: np.random.Generator) -> Floats:
    """Queries (q, d) that are like items (q,) of a space and none of them.

    Each is an item and, added to it, the difference of two of those near it (q, m). A graph has links from an
    item to its neighbours, and finds them with less effort than those of what is new. Measured on 100,000
    clustered vectors of 512 dimensions, HNSW32, efSearch 32: recall@10 0.977 for items, 0.961 for new vectors
    of the same clusters, 0.936 for these queries; so the efforts that they ask for are on the safe side.
    """
    near = np.where(near >= 0, near, items[:, np.newaxis])
    one, other = (near[np.arange(len(items)), rng.integers(near.shape[1], size=len(items))] for _ in range(2))
    vectors, first, second = (moment.vectors[places].astype(np.float32) for places in (items, one, other))
    return prepared(moment.metric, vectors + first - second)


def _share(left_out: int, exact: Places, found: Places) -> float:
    """The share of the exact places, one aside, that were found."""
    wanted = set(exact.tolist()) - {left_out, -1}
    return len(wanted & set(found.tolist())) / len(wanted) if wanted else 1.0
