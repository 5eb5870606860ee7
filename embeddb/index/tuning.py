"""How much effort an approximate index takes to be good, and how long a shortlist, measured on the space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embeddb.index.exact import scan_all
from embeddb.index.metric import prepared
from embeddb.index.vectors import Moment

__all__ = [
    "MAX_EXTRA",
    "TUNED_K",
    "WHOLE",
    "WIDE_K",
    "Point",
    "Sample",
    "Tuned",
    "candidates",
    "curve",
    "least",
    "long_enough",
]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Find = Callable[[Floats, int, int], Places]
"""The nearest places (q, k) of queries (q, d), found with an effort: `find(queries, k, effort)`."""

SAMPLE_QUERIES = 200
TUNED_K = 10
"""The hits that efforts are measured for; for more hits, they are measured for `WIDE_K` as well."""
WIDE_K = 100
# A graph keeps 22 candidates for eleven hits in any case; what it is tuned to, filters multiply.
MIN_LISTS, MIN_CANDIDATES = 4, 24
ENOUGH_RECALL = 0.995
STEP = 2**0.25
# How many candidates are scored again for k hits: so many times k, and so many more. Whole vectors rank as
# they score. Of codes it is measured: the shortest list that finds nearly what the longest does.
WHOLE = (1.0, 0)
SHORTLISTS = (1.5, 5), (2.0, 8), (3.0, 10), (4.0, 24), (6.0, 60)
MAX_LOST_RECALL = 0.005
MAX_EXTRA = 1000


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
    return next((each for each in curve if each.recall >= recall), curve[-1])


@dataclass(frozen=True)
class Tuned:
    """What was measured of an index.

    Attributes:
        curve: what efforts give for ten hits, ascending; one point at least.
        wide_curve: the same for a hundred hits.
        places: how many there were.
        work: what share of its vectors a search that is as good as asked for reads.
        built_for: how many vectors lived when the index was built.
        built_work: the work then.
        shortlist: how many candidates a search scores again, as a factor of its hits, and so many more.
    """

    curve: Sequence[Point]
    wide_curve: Sequence[Point]
    places: int
    work: float
    built_for: int
    built_work: float
    shortlist: tuple[float, int]

    def least(self, recall: float) -> Point:
        """The least effort that gave a recall of ten hits; the most that was tried if none did."""
        return least(self.curve, recall)

    def effort(self, recall: float, k: int) -> int:
        """The effort that gives a recall of k hits.

        The farther away the hits lie, the more lists they are in: as a power of k, which is known from two.
        """
        few = self.least(recall).effort
        # One more was asked for where they were measured, as whoever wants to know of equals asks for one.
        if k <= TUNED_K + 1:
            return few
        many = max(few, least(self.wide_curve, recall).effort)
        power = math.log(many / few) / math.log(WIDE_K / TUNED_K)
        return round(few * math.pow(k / TUNED_K, power))

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
        exact: (q, WIDE_K + 1) int64: the nearest places, best first; -1 for none.
    """

    queries: Floats
    left_out: Places
    exact: Places

    @classmethod
    def draw(cls, moment: Moment, graph: bool) -> Sample:
        """A sample of a space.

        Args:
            moment: the places that the index has.
            graph: whether the index is one, which finds what it holds more easily than what is new.
        """
        rng = np.random.default_rng(1)
        living = moment.living_places()
        items = np.sort(rng.choice(living, min(SAMPLE_QUERIES, len(living)), replace=False))
        queries = moment.vectors[items].astype(np.float32, copy=False)
        left_out = items
        if graph:
            near = scan_all(moment, queries, TUNED_K + 1, moment.allowed(None))[1]
            queries = _beside(moment, items, near, rng)
            left_out = np.full(len(items), -1)
        return cls(queries, left_out, scan_all(moment, queries, WIDE_K + 1, moment.allowed(None))[1])

    def recall(self, found: Places, k: int) -> float:
        """The share of the k nearest, the query aside, that are among those found (q, m).

        It is what is left of the mean after its standard error, so that a lucky sample does not promise too
        much.
        """
        shares = np.array(
            [_share(*each) for each in zip(self.left_out, self.exact[:, : k + 1], found, strict=True)]
        )
        return float(shares.mean() - shares.std() / np.sqrt(len(shares)))


def curve(
    sample: Sample,
    k: int,
    find: Find,
    most: int,
    graph: bool,
    go_on: Callable[[], bool],
    enough: float = ENOUGH_RECALL,
) -> Sequence[Point] | None:
    """Measure what efforts give.

    Args:
        k: how many hits are asked for.
        find: looks into the index.
        most: the largest effort that there is.
        graph: whether the index is one.
        go_on: says whether to.
        enough: the recall beyond which no more effort is tried.

    Returns:
        Points with ascending efforts, the last one with the most that is of use; None where `go_on` ended it.
    """
    points: list[Point] = []
    effort = min(MIN_CANDIDATES if graph else MIN_LISTS, most)
    while go_on():
        points.append(Point(effort, sample.recall(find(sample.queries, k + 1, effort), k)))
        if effort == most or points[-1].recall >= enough:
            return tuple(points)
        effort = min(most, max(effort + 1, round(effort * STEP)))
    return None


def candidates(k: int, shortlist: tuple[float, int]) -> int:
    """How many candidates are scored again for k hits."""
    factor, extra = shortlist
    return k + min(int((factor - 1) * k) + extra, MAX_EXTRA)


def long_enough(
    sample: Sample, rank: Find, recall: float, most: int, graph: bool, go_on: Callable[[], bool]
) -> tuple[float, int] | None:
    """The shortest shortlist that finds nearly what the longest does, for ten hits and for a hundred.

    It is compared at an effort that is enough with the longest. What is among the candidates would be among
    the hits, so none has to be scored.

    Args:
        rank: gives as many places as it is told, best first by their codes.
        recall: what is asked for.
        most, graph, go_on: as of `curve`.

    Returns:
        None where `go_on` ended it.
    """

    def find(queries: Floats, k: int, effort: int) -> Places:
        return rank(queries, candidates(k, SHORTLISTS[-1]), effort)

    points = curve(sample, TUNED_K, find, most, graph, go_on, enough=recall)
    if points is None:
        return None
    found = {k: find(sample.queries, k + 1, points[-1].effort) for k in (TUNED_K, WIDE_K)}

    def is_enough(shortlist: tuple[float, int]) -> bool:
        return all(
            sample.recall(places[:, : candidates(k + 1, shortlist)], k)
            >= sample.recall(places, k) - MAX_LOST_RECALL
            for k, places in found.items()
        )

    return next(filter(is_enough, SHORTLISTS))


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
