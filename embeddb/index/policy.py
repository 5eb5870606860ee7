"""Which index a space has: exact while it is small, then a FAISS index.

Exact as long as a lone search takes no more time than one of 100,000 by an index, which is as long as there
is little to read: docs/index.md has what both take.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import faiss

from embeddb.errors import InvalidArgumentError
from embeddb.options import Effort

__all__ = ["IndexPolicy", "automatic", "check_factory"]

AUTO = "auto"
EXACT = "Flat"
# So many vectors are scanned in any case, more while they have so many numbers, and never more than that.
EXACT_ALWAYS, EXACT_NUMBERS, EXACT_LIMIT = 10_000, 5_000_000, 100_000
# k-means wants so many vectors a centroid at least.
POINTS_PER_LIST = 39
HNSW_MINIMUM = 10_000
# A byte a dimension, where two or four bits are not enough.
LONG_CODES = "SQ8"
# With fewer, codes of two bits a dimension need shortlists that cost more than they save.
SHORT_CODES_DIMENSION = 128
# Fewer centres are read as fast as their codes.
CODED_CENTRES = 1000
SPEED_RECALL = 0.9
ACCURACY_RECALL = 0.99


def check_factory(factory: str, dimension: int) -> None:
    """Refuse what is no index for a space of this dimension.

    Args:
        factory: "auto", "Flat" (always exact), or a factory string of FAISS for an index of the families IVF
            or HNSW.

    Raises:
        InvalidArgumentError: it is none of these, or does not fit the dimension.
    """
    if factory in (AUTO, EXACT):
        return
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        allowed = f"must be auto, Flat or a FAISS factory string that fits {dimension} dimensions"
        raise InvalidArgumentError("settings.index", factory, allowed) from None
    if isinstance(faiss.downcast_index(index), faiss.IndexRefine):
        allowed = "must not refine: candidates of every index are scored by the vectors themselves"
        raise InvalidArgumentError("settings.index", factory, allowed)
    hnsw = isinstance(faiss.downcast_index(index), faiss.IndexHNSW)
    if not hnsw and faiss.try_extract_index_ivf(index) is None:
        allowed = "must be auto, Flat, or of the families IVF and HNSW, whose recall can be tuned"
        raise InvalidArgumentError("settings.index", factory, allowed)


def automatic(vectors: int, dimension: int, gpu: bool = False) -> str:
    """The factory string of the index that `auto` has of so many vectors, where it has one.

    4 * sqrt(n) lists: FAISS's wiki, "Guidelines to choose an index". The codes may be short, for the vectors
    are there as well, and with the best scored by them nothing is lost. Two bits a dimension, in the order in
    which FAISS scans them out of registers (André et al., 2015, "Cache locality is not enough"), take half of
    the time of half a byte; where dimensions are few, or odd, and on a GPU, it is half a byte. The
    centres of many lists have codes as well (see `embeddb.index.centres`).

    Args:
        gpu: whether a copy of the index is to be put on a GPU, where FAISS has no such codes.
    """
    lists = min(round(4 * math.sqrt(vectors)), vectors // POINTS_PER_LIST)
    if dimension < SHORT_CODES_DIMENSION or dimension % 2 or gpu:
        return f"IVF{lists},SQ4"
    coded = lists >= CODED_CENTRES and dimension % 4 == 0
    centres = f"(PQ{dimension // 4}x4fs,Refine(Flat))" if coded else ""
    return f"IVF{lists}{centres},PQ{dimension // 2}x4fs"


@dataclass(frozen=True)
class IndexPolicy:
    """What a collection's settings say of its indexes.

    Args:
        factory: what `check_factory` takes.
        recall: the share of the exact nearest that a search finds unless it asks for another.
    """

    factory: str = AUTO
    recall: float = 0.95

    def recall_of(self, effort: Effort) -> float:
        """The recall that a search of some effort asks for."""
        if effort is Effort.SPEED:
            return min(SPEED_RECALL, self.recall)
        return max(ACCURACY_RECALL, self.recall) if effort is Effort.ACCURACY else self.recall

    @property
    def allows_exact(self) -> bool:
        """Whether the exact scan may serve however many vectors there are, where it is fast enough."""
        return self.factory in (AUTO, EXACT) or self.recall == 1

    def can_wait(self, vectors: int) -> bool:
        """Whether the exact scan of so many vectors will do while a load goes on, which wants the cores."""
        return self.factory == AUTO and vectors < EXACT_LIMIT

    def choose(self, vectors: int, dimension: int, gpu: bool = False) -> str | None:
        """The factory string of the index that so many vectors should have; None for the exact scan.

        Args:
            gpu: whether a copy of it is to be put on a GPU.
        """
        if self.factory == EXACT or self.recall == 1:
            return None
        if self.factory == AUTO:
            if vectors < min(max(EXACT_ALWAYS, EXACT_NUMBERS // dimension), EXACT_LIMIT):
                return None
            return automatic(vectors, dimension, gpu)
        lists = re.search(r"IVF(\d+)", self.factory)
        least = POINTS_PER_LIST * int(lists[1]) if lists else HNSW_MINIMUM
        return self.factory if vectors >= least else None

    def finer(self, factory: str) -> str | None:
        """The index to have in place of one that finds too little, however hard it looks.

        Where most of each vector is what all have in common, as in the features of a network that was hardly
        trained, they differ less by the cosine or the inner product than short codes are wrong. Eight bits a
        dimension reach from the least to the greatest number that occurs there, and no farther.

        Args:
            factory: what `choose` gave, or this.

        Returns:
            None where there is no better one, or the settings name theirs.
        """
        lists, _, codes = factory.rpartition(",")
        return None if self.factory != AUTO or codes == LONG_CODES else f"{lists},{LONG_CODES}"
