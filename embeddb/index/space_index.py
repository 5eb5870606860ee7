"""One space's index: what is searched of a collection through one model."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from embeddb.batching import Batcher, Priority
from embeddb.errors import InvalidArgumentError
from embeddb.index.exact import CodeMoment, Codes, scan, scan_places
from embeddb.index.metric import check_finite_scores, prepared
from embeddb.index.vectors import Moment, Vectors
from embeddb.query import Metric

__all__ = ["SpaceIndex"]

Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Dead places are passed over until they are this share of all; then the index is written anew.
MAX_DEAD_SHARE = 0.25
# Up to this share of the places, those that a filter keeps are copied and scanned alone.
MAX_GATHERED_SHARE = 0.1
MAX_SEARCHES_AT_ONCE = 64
MAX_QUEUE = 4096


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that a search reads; replaced as a whole, so that no search waits for a change."""

    moment: Moment
    codes: CodeMoment


@dataclass(frozen=True, eq=False)
class _Question:
    queries: Floats
    k: int
    allowed: Rows | None


class SpaceIndex:
    """Rows and their vectors, searchable the moment `update` returns. Thread-safe.

    Searches that arrive while another one runs are answered together by the next scan.

    Args:
        dimension: of all vectors.
        metric: how near two vectors are.
        name: of its thread.
    """

    def __init__(self, dimension: int, metric: Metric = Metric.COSINE, name: str = "index") -> None:
        self.dimension = dimension
        self.metric = metric
        self._lock = threading.Lock()
        self._start(Vectors(metric, dimension))
        self._searches = Batcher(f"search-{name}", self._answer, MAX_SEARCHES_AT_ONCE, MAX_QUEUE)

    def __len__(self) -> int:
        return self._vectors.living

    def __repr__(self) -> str:
        return "exact (bfloat16 codes)"

    def update(self, rows: Rows, vectors: Floats, removed: Rows) -> None:
        """Add rows and take others out, in one step for every search.

        Args:
            rows: (n,) int64, ascending, all beyond those that were ever here.
            vectors: (n, dimension) float32.
            removed: (m,) int64; those that are not here are passed over.
        """
        if vectors.shape != (len(rows), self.dimension):
            raise InvalidArgumentError("vectors", vectors.shape, f"must be ({len(rows)}, {self.dimension})")
        added = prepared(self.metric, vectors)
        with self._lock:
            if len(rows):
                self._vectors.append(rows, added)
                self._codes.append(torch.from_numpy(added))
            if len(removed):
                self._vectors.bury(removed)
            if self._vectors.dead > MAX_DEAD_SHARE * self._vectors.count:
                self._compact()
            self._state = _State(self._vectors.moment(), self._codes.moment())

    def search(self, queries: Floats, k: int, allowed: Rows | None = None) -> tuple[Floats, Rows]:
        """Find the k nearest rows of each query.

        Args:
            queries: (n, dimension) float32.
            allowed: (m,) int64, ascending: rows that may be found, be they here or not; None for all.

        Returns:
            Scores (n, k) float32, larger is nearer, best first; and rows (n, k) int64. Where there are fewer
            than k rows, the rest is -1, with a score of minus infinity. Of equal scores the lower row comes
            first.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidArgumentError("queries", queries.shape, f"must be (n, {self.dimension})")
        check_finite_scores("queries", queries, self.metric)
        question = _Question(prepared(self.metric, queries), k, allowed)
        return self._searches.submit(question, Priority.QUERY).result()

    def close(self) -> None:
        """Answer what is queued, and end the thread."""
        self._searches.close()

    def _answer(self, questions: Sequence[_Question]) -> list[tuple[Floats, Rows]]:
        """One search for all questions that are waiting and may find the same rows."""
        state = self._state
        alike: dict[int, list[int]] = defaultdict(list)
        for number, question in enumerate(questions):
            alike[id(question.allowed)].append(number)
        answers: dict[int, tuple[Floats, Rows]] = {}
        for numbers in alike.values():
            answers.update(zip(numbers, self._together(state, [questions[n] for n in numbers]), strict=True))
        return [answers[number] for number in range(len(questions))]

    def _together(self, state: _State, questions: Sequence[_Question]) -> Iterator[tuple[Floats, Rows]]:
        k = max(question.k for question in questions)
        queries = torch.from_numpy(np.concatenate([question.queries for question in questions]))
        scores, places = self._nearest(state, queries, k, questions[0].allowed)
        rows = np.full(places.shape, -1, np.int64)
        rows[places >= 0] = state.moment.rows[places[places >= 0]]
        start = 0
        for question in questions:
            end = start + len(question.queries)
            yield scores[start:end, : question.k], rows[start:end, : question.k]
            start = end

    def _nearest(
        self, state: _State, queries: torch.Tensor, k: int, allowed: Rows | None
    ) -> tuple[Floats, Places]:
        moment = state.moment
        if allowed is not None and len(allowed) < MAX_GATHERED_SHARE * len(moment):
            # So few are left that to look at each of them, in full precision, is the fastest.
            return scan_places(moment, queries, k, moment.places(allowed))
        mask = moment.living() if moment.dead else None
        if allowed is not None:
            mask = moment.mask(allowed) & moment.living()
        return scan(moment, state.codes, queries, k, mask)

    def _start(self, vectors: Vectors) -> None:
        self._vectors = vectors
        moment = vectors.moment()
        self._codes = Codes(0, moment.vectors, torch.device("cpu"))
        self._state = _State(moment, self._codes.moment())

    def _compact(self) -> None:
        moment = self._vectors.moment()
        living = moment.living()
        vectors = Vectors(self.metric, self.dimension, capacity=int(living.sum()))
        if living.any():
            vectors.append(moment.rows[living], moment.vectors[torch.from_numpy(living)].numpy())
        self._start(vectors)
