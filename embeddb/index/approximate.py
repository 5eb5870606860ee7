"""An approximate index of FAISS over the first places of a space."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.gate import Gate
from embeddb.index.centres import have_codes, prepare_additions, train_centres, with_directions
from embeddb.index.coder import Coder
from embeddb.index.exact import best, first, score
from embeddb.index.faiss_search import faiss_search, selector
from embeddb.index.gpu import MOST_SELECTED
from embeddb.index.gpu_copy import GpuCopy
from embeddb.index.parameters import plain_parameters, search_parameters
from embeddb.index.refinement import Refinement
from embeddb.index.tuned import MAX_EXTRA, Tuned, candidates, least
from embeddb.index.tuning import GRAPH_FACTOR, measure
from embeddb.index.vectors import Allowed, Kept, Moment
from embeddb.precedence import searches
from embeddb.query import Metric

__all__ = ["Approximate"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

TRAINING_POINTS_PER_LIST = 64
# A search waits for no more than so many vectors to be added: more where they were coded before.
ADD_AT_ONCE, ADD_CODED_AT_ONCE = 64, 1024
# FAISS's number for a fast scan of one query after the other (`IndexIVFFastScan.implem`). The one that it
# takes by itself asks for memory for each list, which threads that share a heap wait for: 64 queries take two
# of them twice as long, and a lone query takes a fifth longer.
QUERY_BY_QUERY = 11
MAX_EFFORT = 4096
# Beyond the hits that efforts are measured for, this is the share of a further list that is hits.
LIST_SHARE = 0.25

_METRICS = {
    Metric.COSINE: faiss.METRIC_INNER_PRODUCT,
    Metric.INNER_PRODUCT: faiss.METRIC_INNER_PRODUCT,
    Metric.L2: faiss.METRIC_L2,
}


class Approximate:
    """Places 0 to n of a space in a FAISS index, where the id of a vector is its place. Thread-safe.

    Args:
        index: trained, of the families IVF or HNSW.
        factory: its factory string.
        places: how many there are in it, or were until they were swept out.
        tuned: what was measured of it; None until it is.

    Attributes:
        copy: its copy on a GPU; none is there until it is placed.
        sweepable: whether the dead can be taken out: of lists, but not of a graph. Nor of the lists of the
            fast scan, for FAISS 1.15 loses what is added to them after that.
    """

    def __init__(
        self,
        index: faiss.Index,
        factory: str,
        places: int = 0,
        tuned: Tuned | None = None,
    ) -> None:
        self.index = index
        self.factory = factory
        self._tuned = tuned
        self._places = places
        self.copy = GpuCopy(factory)
        # FAISS searches an index on many threads at once, but not while it adds to it.
        self._gate = Gate()
        self._ivf = faiss.try_extract_index_ivf(index)
        self._coder: Coder | None = None
        self._most_lists = 0 if self._ivf is None else int(self._ivf.nlist)
        self._lists = None if self._ivf is None else self._ivf.invlists
        ivf = None if self._ivf is None else faiss.downcast_index(self._ivf)
        if isinstance(ivf, faiss.IndexIVFPQFastScan):
            ivf.implem = QUERY_BY_QUERY
        self._coded_centres = have_codes(self._ivf)
        self.sweepable = self._lists is not None and isinstance(
            faiss.downcast_InvertedLists(self._lists), faiss.ArrayInvertedLists
        )
        self._transforms = _transforms(index)
        self._refinement = Refinement(index)

    @classmethod
    def train(cls, factory: str, moment: Moment) -> Approximate:
        """An empty index, trained on a sample of the living."""
        index = faiss.index_factory(moment.vectors.shape[1], factory, _METRICS[moment.metric])
        ivf = faiss.try_extract_index_ivf(index)
        places = moment.living_places()
        if ivf is not None:
            ivf.cp.max_points_per_centroid = TRAINING_POINTS_PER_LIST
            if have_codes(ivf):
                prepare_additions(ivf)
            wanted = TRAINING_POINTS_PER_LIST * ivf.nlist
            if len(places) > wanted:
                places = np.sort(np.random.default_rng(0).choice(places, wanted, replace=False))
        sample = moment.vectors[places].astype(np.float32, copy=False)
        if ivf is not None and have_codes(ivf) and not _transforms(index):
            train_centres(ivf, sample)
        index.train(sample)
        return cls(index, factory)

    def __len__(self) -> int:
        return self._places

    @property
    def codes_beside(self) -> bool:
        """Whether what is added is coded beside the lists, which takes about as long as to put it."""
        return Coder.fits(self.index)

    def add(self, vectors: Kept, go_on: Callable[[], bool] = lambda: True) -> None:
        """Add the vectors (n, d) of the next places, as long as `go_on` says so."""
        if self._coder is None and self.codes_beside:
            self._coder = Coder(self.index)
        step = ADD_AT_ONCE if self._coder is None else ADD_CODED_AT_ONCE
        for start in range(0, len(vectors), step):
            if not go_on():
                return
            few = vectors[start : start + step].astype(np.float32, copy=False)
            if self._coded_centres:
                few = with_directions(few)
            # What was swept out is not counted, and so does not say which place comes next.
            ids = np.arange(self._places, self._places + len(few))
            searches.give_way()
            if self._coder is not None:
                self._coder.code(few, ids)
                searches.give_way()
            with self._gate.alone():
                if self._coder is not None:
                    self._coder.merge()
                elif self._ivf is not None:
                    self.index.add_with_ids(few, ids)
                else:
                    self.index.add(few)
                self.copy.add(few, ids)
                self._places += len(few)

    def search(
        self,
        moment: Moment,
        end: int,
        queries: Floats,
        k: int,
        effort: int,
        allowed: Allowed | None = None,
    ) -> tuple[Floats, Places]:
        """The nearest living places, of which it may miss some; scored in full precision.

        Args:
            moment: of the space.
            end: the place before which to look.
            queries: (q, d) float32, prepared.
            allowed: those that a filter leaves; None for all that live.

        Returns:
            As `embeddb.index.exact.scan`.
        """
        shortlist = self.tuned.shortlist(k)
        size = candidates(k, shortlist)
        if allowed is not None or not moment.dead:
            return first(*self._scored(moment, end, queries, size, effort, allowed), k)
        # FAISS takes long to ask of every place whether it lives, and few of the nearest do not.
        thinned = math.ceil(k * len(moment) / max(moment.living.count, 1))
        more = candidates(min(thinned, k + MAX_EXTRA), shortlist)
        found, places = self._scored(moment, end, queries, more, effort, None)
        short = np.count_nonzero(places >= 0, axis=1) < k
        if short.any():
            again = self._scored(moment, end, queries[short], size, effort, moment.living)
            # What was added between the two may make more of them than there were places before.
            width = min(found.shape[1], again[0].shape[1])
            found[short], places[short] = -np.inf, -1
            found[short, :width], places[short, :width] = (each[:, :width] for each in again)
        return first(found, places, k)

    def tune(self, moment: Moment, recall: float, go_on: Callable[[], bool] = lambda: True) -> None:
        """Measure what each effort gives; where `go_on` ends it, all stays as it was.

        To be called on the thread that adds.

        Args:
            moment: has the places of the index.
            recall: what is asked for.
        """
        if not go_on():
            return
        covered = moment.until(len(self))
        rank = partial(self._ranked, covered)
        has_codes, graph = not self._has_whole_vectors(), self._ivf is None
        measured = measure(covered, rank, has_codes, graph, self._most(), recall, go_on)
        if measured is None:
            return
        before = self._tuned
        work = self._work(least(measured[0].curve, recall).effort)
        self._tuned = Tuned(
            measured,
            len(covered),
            work,
            built_for=covered.living.count if before is None else before.built_for,
            built_work=work if before is None else before.built_work,
        )

    @property
    def tuned(self) -> Tuned:
        """What was measured of it last, of one that was tuned."""
        assert self._tuned is not None
        return self._tuned

    def effort(self, recall: float, k: int, living: int) -> int:
        """The effort that gives a recall of k hits, among so many living places.

        Hits may fill the lists around a query, and what lies beyond them needs lists of its own, which the
        power of k does not see beyond the most hits that were measured.
        """
        tuned = self.tuned
        effort = tuned.effort(recall, k)
        if k <= tuned.most_hits or self._ivf is None:
            return effort
        beyond = (k - tuned.most_hits) * self._most_lists / (LIST_SHARE * max(living, 1))
        return max(effort, math.ceil(tuned.effort(recall, tuned.most_hits) + beyond))

    def describe(self, recall: float) -> str:
        """What it is, and what a recall takes."""
        point = self.tuned.least(recall)
        where = f", on {gpu}" if (gpu := self.copy.gpu) is not None else ""
        return f"{self.factory}, effort {point.effort}: recall {point.recall:.3f}{where}"

    @property
    def is_searchable(self) -> bool:
        """Whether a search would wait neither for an addition nor for a GPU, at this moment."""
        return self._gate.is_open and not self.copy.is_busy

    @property
    def swept(self) -> int:
        """How many places were swept out."""
        return self._places - int(self.index.ntotal)

    def sweep(self, moment: Moment) -> None:
        """Take the dead out of the lists, so that searches do not read them."""
        living = selector(moment.living)
        with self._gate.alone():
            self.index.remove_ids(faiss.IDSelectorNot(living))
        # FAISS takes nothing out of lists on a GPU: a new copy is made of what is left.
        self.copy.leave()

    def _scored(
        self, moment: Moment, end: int, queries: Floats, size: int, effort: int, allowed: Allowed | None
    ) -> tuple[Floats, Places]:
        """Scores and places of `_candidates` that live, as `scan` has them."""
        some_are_dead = allowed is None and moment.dead > 0
        refined = self._refined(moment, end, queries, size, effort, allowed)
        if refined is None:
            places = self._candidates(queries, size, end, effort, allowed)
            if some_are_dead:
                places[~moment.are_living(places)] = -1
            return best(score(moment, queries, places), places, places.shape[1])
        if some_are_dead and (gone := ~moment.are_living(refined[1])).any():
            refined[0][gone] = -np.inf
            return best(*refined, gone.shape[1])
        return refined

    def _refined(
        self, moment: Moment, end: int, queries: Floats, size: int, effort: int, allowed: Allowed | None
    ) -> tuple[Floats, Places] | None:
        """`_candidates` with their scores, all by one call of FAISS; None where it cannot do both."""
        size = min(size, self._places)
        if not size or not moment.is_whole or self.copy.gpu is not None:
            return None
        chosen = None if allowed is None else selector(allowed)
        parameters = self._parameters(effort, size, chosen, refines=True)
        with self._gate:
            here = self._places
            # What was added since may lie where the moment has no vectors.
            if here > len(moment):
                return None
            found, places = self._refinement.search(moment.kept[:here], queries, size, parameters)
        # Who waited at the gate finds what was added meanwhile, which was to be scanned beside the index.
        if here > end and (beyond := places >= end).any():
            found[beyond], places[beyond] = -np.inf, -1
            return best(found, places, size)
        return found, places

    def _ranked(self, moment: Moment, queries: Floats, size: int, effort: int) -> Places:
        """The living places (q, size) of a moment that rank best by their codes; -1 for none."""
        thinned = math.ceil(size * len(moment) / max(moment.living.count, 1))
        places = self._candidates(queries, thinned, len(moment), effort, None)
        dead = ~moment.are_living(places)
        places[dead] = -1
        return np.take_along_axis(places, np.argsort(dead, axis=1, kind="stable")[:, :size], 1)

    def _candidates(
        self, queries: Floats, size: int, end: int, effort: int, allowed: Allowed | None
    ) -> Places:
        """The places (q, size) int64 that rank best by their codes, at most all; -1 for none."""
        size = min(size, len(self))
        if not size:
            return np.full((len(queries), 1), -1, np.int64)
        parameters = self._parameters(effort, size, None if allowed is None else selector(allowed))
        # The copy takes no filter, and FAISS has kernels for so many candidates and lists there.
        if allowed is None and max(size, min(effort, self._most_lists)) <= MOST_SELECTED:
            copied = self.copy.search(queries, size, parameters)
            if copied is not None:
                copied[copied >= end] = -1
                return copied
        with self._gate:
            places = faiss_search(self.index, queries, size, parameters)[1]
        if end < len(self):
            places[places >= end] = -1
        return places

    def _has_whole_vectors(self) -> bool:
        """Whether it ranks by the vectors themselves, in float32."""
        if self._ivf is not None:
            return not self._transforms and isinstance(faiss.downcast_index(self._ivf), faiss.IndexIVFFlat)
        graph: Any = faiss.downcast_index(self.index)
        return isinstance(faiss.downcast_index(graph.storage), faiss.IndexFlat)

    def _most(self) -> int:
        return self._most_lists or min(MAX_EFFORT, len(self))

    def _work(self, effort: int) -> float:
        """The share of the vectors that a search with an effort reads, if queries are like the vectors."""
        return 1.0 if self._lists is None else effort / self._most() * self._lists.imbalance_factor()

    def _parameters(
        self, effort: int, size: int, chosen: faiss.IDSelectorBitmap | None, refines: bool = False
    ) -> Any:
        graph = self._ivf is None
        amount = max(effort, GRAPH_FACTOR * size) if graph else min(effort, self._most_lists)
        make = plain_parameters if chosen is None else search_parameters
        return make(graph, self._coded_centres, self._transforms, refines, amount, chosen)


def _transforms(index: faiss.Index) -> bool:
    """Whether an index has vectors transformed before it looks at them."""
    return isinstance(faiss.downcast_index(index), faiss.IndexPreTransform)
