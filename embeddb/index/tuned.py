"""What was measured of an approximate index: what efforts give, and how long shortlists have to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

__all__ = ["MAX_EXTRA", "Measured", "Point", "Shortlist", "Tuned", "candidates", "least"]

Shortlist = tuple[float, int]
"""How many candidates are scored again for k hits: so many times k, and so many more."""

MAX_EXTRA = 2000


def candidates(k: int, shortlist: Shortlist) -> int:
    """How many candidates are scored again for k hits."""
    factor, extra = shortlist
    return k + min(int((factor - 1) * k) + extra, MAX_EXTRA)


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
    """The least effort that gives a recall; the most of the curve if none does."""
    for each in curve:
        if each.recall >= recall:
            return each
    return curve[-1]


@dataclass(frozen=True)
class Measured:
    """What was measured for some number of hits.

    Attributes:
        k: how many.
        curve: what efforts give, ascending; one point at least, the last with the most that is of use.
        shortlist: how many candidates a search scores again, as a factor of its hits, and so many more.
    """

    k: int
    curve: Sequence[Point]
    shortlist: Shortlist


@dataclass(frozen=True)
class Tuned:
    """What was measured of an index.

    Attributes:
        measured: for several numbers of hits, ascending, the first of them ten.
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
        """The least effort that gives a recall of ten hits; the most that is known if none does."""
        return least(self.curve, recall)

    def effort(self, recall: float, k: int) -> int:
        """The effort that gives a recall of k hits.

        The farther away the hits lie, the more lists they are in: as a power of k, which is known from the
        two next to it that were measured. Where that would be more than in proportion, the effort jumps
        somewhere between the two, as it does behind the last of a few near-duplicates: then it is the one
        for more hits.
        """
        # One more was asked for where they were measured, as whoever wants to know of equals asks for one.
        if k <= self.measured[0].k + 1:
            return least(self.measured[0].curve, recall).effort
        efforts = list(accumulate((least(each.curve, recall).effort for each in self.measured), max))
        # What is beyond the most hits that were measured goes on from the last two.
        more = next((n for n, each in enumerate(self.measured) if k <= each.k + 1), len(efforts) - 1)
        few, many = self.measured[more - 1].k, self.measured[more].k
        power = math.log(efforts[more] / efforts[more - 1]) / math.log(many / few)
        if k <= many + 1:
            k = many if power > 1 else min(k, many)
        return round(efforts[more - 1] * math.pow(k / few, power))

    def shortlist(self, k: int) -> Shortlist:
        """How many candidates a search for k hits scores again, as those next to it that were measured do."""
        if k <= self.measured[0].k + 1:
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
