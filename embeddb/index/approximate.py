"""An approximate index of FAISS over the first places of a space, and how much effort it takes to be good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import torch

from embeddb.index.exact import best, scan_all, score
from embeddb.index.vectors import Moment
from embeddb.query import Metric

__all__ = ["Approximate", "Point"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]

TRAINING_POINTS_PER_LIST = 64
# A search waits for no more than so many vectors to be added.
ADD_AT_ONCE = 256
SAMPLE_QUERIES = 200
TUNED_K = 10
MIN_EFFORT = 4
MAX_EFFORT = 4096
ENOUGH_RECALL = 0.995
SHORTLIST_FACTOR, SHORTLIST_EXTRA = 4, 24

_METRICS = {
    Metric.COSINE: faiss.METRIC_INNER_PRODUCT,
    Metric.INNER_PRODUCT: faiss.METRIC_INNER_PRODUCT,
    Metric.L2: faiss.METRIC_L2,
}


@dataclass(frozen=True)
class Point:
    """What an effort gives.

    Attributes:
        effort: how many lists of an IVF index are probed (nprobe), or how many candidates an HNSW graph keeps
            (efSearch).
        recall: the share of the exact ten nearest that are found so, measured on a sample of the data.
    """

    effort: int
    recall: float


class Approximate:
    """Places 0 to n of a space in a FAISS index, where the id of a vector is its place. Thread-safe.

    Args:
        index: trained, of the families IVF or HNSW.
        factory: its factory string.
        curve: what each effort gives, in ascending order; empty until it is tuned.
    """

    def __init__(self, index: faiss.Index, factory: str, curve: Sequence[Point] = ()) -> None:
        self.index = index
        self.factory = factory
        self.curve = tuple(curve)
        # FAISS may not search an index while it adds to it.
        self.lock = threading.Lock()

    @classmethod
    def train(cls, factory: str, moment: Moment) -> Approximate:
        """An empty index, trained on a sample of the living."""
        index = faiss.index_factory(moment.vectors.shape[1], factory, _METRICS[moment.metric])
        ivf = faiss.try_extract_index_ivf(index)
        places = np.flatnonzero(moment.living())
        if ivf is not None:
            ivf.cp.max_points_per_centroid = TRAINING_POINTS_PER_LIST
            wanted = TRAINING_POINTS_PER_LIST * ivf.nlist
            if len(places) > wanted:
                places = np.sort(np.random.default_rng(0).choice(places, wanted, replace=False))
        index.train(moment.vectors[torch.from_numpy(places)].numpy())
        return cls(index, factory)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def add(self, vectors: Floats, go_on: Callable[[], bool] = lambda: True) -> None:
        """Add the vectors (n, d) float32 of the next places, as long as `go_on` says so."""
        for start in range(0, len(vectors), ADD_AT_ONCE):
            if not go_on():
                return
            with self.lock:
                self.index.add(vectors[start : start + ADD_AT_ONCE])

    def search(
        self, moment: Moment, queries: torch.Tensor, k: int, effort: int, allowed: Bits | None
    ) -> tuple[Floats, Places]:
        """The nearest places, of which it may miss some; scored in full precision.

        Args:
            moment: has the places of the index, and maybe more.
            queries: (q, d) float32, prepared.
            allowed: a bit a place, those that may be found; None for all.

        Returns:
            As `embeddb.index.exact.scan`.
        """
        size = min(max(k + SHORTLIST_EXTRA, min(SHORTLIST_FACTOR * k + SHORTLIST_EXTRA, 1000)), len(self))
        selector = None
        if allowed is not None:
            # FAISS's Python wrapper takes the array alone, which its type stubs do not know.
            selector = faiss.IDSelectorBitmap(allowed)  # type: ignore[call-arg, arg-type]
        with self.lock:
            # faiss.contrib.torch_utils, which other libraries import, puts a `search` without `params` in the
            # place of FAISS's own, and keeps that one under another name.
            search = getattr(self.index, "search_numpy", self.index.search)
            found = search(queries.numpy(), size, params=self._parameters(effort, size, selector))
        # What was added since the moment was taken is not this search's to find.
        places = np.where(found[1] < len(moment), found[1], -1)
        return best(score(moment, queries, torch.from_numpy(places)).numpy(), places, k)

    def effort(self, recall: float) -> int:
        """The least effort that gave a recall on the sample; the most that was tried if none did."""
        return next((each.effort for each in self.curve if each.recall >= recall), self.curve[-1].effort)

    def tune(self, moment: Moment, go_on: Callable[[], bool] = lambda: True) -> None:
        """Measure what efforts give, on queries that are items of the space, of which each finds the others.

        The recall is what is left of the mean after its standard error, so that a lucky sample does not
        promise too much. Where `go_on` ends it, the curve stays as it was.
        """
        living = np.flatnonzero(moment.living()[: len(self)])
        count = min(SAMPLE_QUERIES, len(living))
        places = np.sort(np.random.default_rng(1).choice(living, count, replace=False))
        queries = moment.vectors[torch.from_numpy(places)]
        covered = moment.until(len(self))
        exact = scan_all(covered, queries, TUNED_K + 1, covered.living())[1]
        curve: list[Point] = []
        most = self._most()
        effort = min(MIN_EFFORT, most)
        alive = moment.alive if moment.dead else None
        while True:
            if not go_on():
                return
            found = self.search(moment, queries, TUNED_K + 1, effort, alive)[1]
            shares = np.array([_recall(*each) for each in zip(places, exact, found, strict=True)])
            error = shares.std() / np.sqrt(len(shares))
            curve.append(Point(effort, float(shares.mean() - error)))
            if effort == most or curve[-1].recall >= ENOUGH_RECALL:
                break
            effort = min(most, max(effort + 1, round(effort * 2**0.5)))
        self.curve = tuple(curve)

    def _most(self) -> int:
        ivf = faiss.try_extract_index_ivf(self.index)
        return int(ivf.nlist) if ivf is not None else min(MAX_EFFORT, len(self))

    def _parameters(self, effort: int, size: int, selector: faiss.IDSelectorBitmap | None) -> Any:
        # FAISS's Python wrapper gives these classes keywords, which its type stubs do not know.
        if faiss.try_extract_index_ivf(self.index) is None:
            return faiss.SearchParametersHNSW(efSearch=max(effort, size), sel=selector)  # type: ignore[attr-defined]
        lists = min(effort, self._most())
        parameters = faiss.SearchParametersIVF(nprobe=lists, sel=selector)  # type: ignore[call-arg]
        if isinstance(faiss.downcast_index(self.index), faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=parameters)  # type: ignore[call-arg]
        return parameters


def _recall(own: int, exact: Places, found: Places) -> float:
    """The share of the exact neighbours of an item that were found, itself aside."""
    others = set(exact.tolist()) - {own, -1}
    return len(others & set(found.tolist())) / len(others) if others else 1.0
