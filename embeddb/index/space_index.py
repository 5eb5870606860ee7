"""One space's index: what is searched of a collection through one model."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
import torch

from embeddb.batching import Batcher, Priority
from embeddb.deadline import current
from embeddb.errors import DataLossError, DeadlineExceededError, InvalidArgumentError
from embeddb.index.approximate import Approximate
from embeddb.index.exact import CodeMoment, Codes, best, scan, scan_all, scan_places
from embeddb.index.metric import check_finite_scores, prepared
from embeddb.index.policy import IndexPolicy
from embeddb.index.recall import RECALL_K, LiveRecall
from embeddb.index.snapshot import Snapshot, SnapshotFile
from embeddb.index.vectors import Moment, Vectors
from embeddb.options import Effort
from embeddb.query import Metric

__all__ = ["SpaceIndex"]

Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# The index is written anew when so large a share of its places is dead, or it has grown so many times.
MAX_DEAD_SHARE = 0.25
MAX_GROWTH = 2.0
# To copy the living apart from the dead is not worth it for fewer than this.
KEPT_DEAD_SHARE = 0.05
# A crash costs the next start no more than to add what the index has grown by since it was kept.
MAX_UNSAVED_GROWTH = 1.25
# So many vectors are scanned beside an approximate index before they are added to it.
MAX_TAIL = 1024
# Up to this share of the places, and so many, those that a filter keeps are copied and scanned alone.
MAX_GATHERED_SHARE = 0.1
MAX_GATHERED = 20_000
MAX_SEARCHES_AT_ONCE = 64
MAX_QUEUE = 4096

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that a search reads; replaced as a whole, so that no search waits for a change.

    The approximate index, where there is one, has the places before the first one that has a code.
    """

    moment: Moment
    codes: CodeMoment
    approximate: Approximate | None


@dataclass(frozen=True, eq=False)
class _Question:
    queries: Floats
    k: int
    allowed: Rows | None
    effort: Effort


class SpaceIndex:
    """Rows and their vectors, searchable the moment `update` returns. Thread-safe.

    Searches that arrive while another one runs are answered together by the next one. Where the policy wants
    an approximate index, it is built on a thread of its own, beside the one that serves; what is added
    meanwhile, or since, is scanned exactly until that thread has added it.

    Args:
        dimension: of all vectors.
        metric: how near two vectors are.
        policy: which index, and how good.
        name: of its threads.
        snapshots: where an approximate index is kept from one start to the next; None for nowhere.
    """

    def __init__(
        self,
        dimension: int,
        metric: Metric = Metric.COSINE,
        policy: IndexPolicy | None = None,
        name: str = "index",
        snapshots: SnapshotFile | None = None,
    ) -> None:
        self.dimension = dimension
        self.metric = metric
        self._policy = policy or IndexPolicy()
        self._name = name
        self._snapshots = snapshots
        # The last commit that is reflected, and how many places the snapshot has.
        self._sequence = 0
        self._saved = 0
        self._lock = threading.Lock()
        self._closed = False
        self._upkeep: threading.Thread | None = None
        # How many vectors the approximate index was built or last tuned for, and how many places there must
        # be before what failed is tried again.
        self._built_for = 0
        self._retry_at = 0
        self._vectors = Vectors(metric, dimension)
        self._codes = self._new_codes(0)
        self._approximate: Approximate | None = None
        self._live_recall = LiveRecall(f"recall-{name}")
        self._publish()
        self._searches = Batcher(f"search-{name}", self._answer, MAX_SEARCHES_AT_ONCE, MAX_QUEUE)

    def __len__(self) -> int:
        return self._vectors.living

    def __repr__(self) -> str:
        approximate = self._state.approximate
        if approximate is None:
            return "exact"
        effort = approximate.effort(self._policy.recall)
        point = next(each for each in approximate.curve if each.effort == effort)
        return f"{approximate.factory}, effort {point.effort}: recall {point.recall:.3f}"

    @property
    def recall(self) -> float | None:
        """The recall@10 of live searches of balanced effort; None where none was compared."""
        return self._live_recall.mean

    # -- Changing ---------------------------------------------------------------------------------------

    def fill(self, scan: Callable[[], Iterable[tuple[Rows, Floats]]], count: int, sequence: int) -> None:
        """Fill an index that is new with what storage has, and its snapshot, if that is of any use.

        Args:
            scan: iterates over storage's rows (n,) int64, ascending, and vectors (n, dimension) float32.
            count: how many there are, about.
            sequence: of storage's last commit.
        """
        vectors = self._restored(scan, count, sequence)
        if vectors is None:
            vectors = Vectors(self.metric, self.dimension, count)
            for rows, batch in scan():
                vectors.append(rows, prepared(self.metric, batch))
        with self._lock:
            self._sequence = sequence
            self._vectors = vectors
            self._codes = self._new_codes(self._saved)
            self._publish()
            self._start_upkeep()

    def _restored(
        self, scan: Callable[[], Iterable[tuple[Rows, Floats]]], count: int, sequence: int
    ) -> Vectors | None:
        """Take the index of the snapshot, and what storage has in its places; None if that cannot be."""
        if self._snapshots is None or self._policy.choose(count) is None:
            return None
        snapshot = self._snapshots.read(sequence)
        if snapshot is None:
            return None
        vectors = Vectors(self.metric, self.dimension, max(count, len(snapshot.rows)))
        vectors.reserve(snapshot.rows)
        try:
            for rows, batch in scan():
                vectors.revive(rows, prepared(self.metric, batch))
            snapshot.check(vectors.moment())
        except DataLossError as error:
            self._snapshots.discard(error)
            return None
        self._approximate = snapshot.approximate
        self._built_for, self._saved = snapshot.built_for, len(snapshot.rows)
        since = vectors.count - self._saved
        log.info("%s: the index of commit %d, and %d vectors since", self._name, snapshot.sequence, since)
        return vectors

    def update(self, rows: Rows, vectors: Floats, removed: Rows, sequence: int = 0) -> None:
        """Add rows and take others out, in one step for every search.

        Args:
            rows: (n,) int64, ascending, all beyond those that were ever here.
            vectors: (n, dimension) float32.
            removed: (m,) int64; those that are not here are passed over.
            sequence: of the commit that did it.
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
            self._sequence = sequence
            self._publish()
            self._start_upkeep()

    def settle(self) -> None:
        """Return when the index is as the policy wants it, if nothing is written meanwhile."""
        while (upkeep := self._upkeep) is not None:
            upkeep.join()

    def close(self) -> None:
        """Answer the searches that wait, end the threads, and keep the index for the next start."""
        with self._lock:
            self._closed = True
        self.settle()
        self._searches.close()
        self._live_recall.close()
        self._save()

    # -- Searching --------------------------------------------------------------------------------------

    def search(
        self, queries: Floats, k: int, allowed: Rows | None = None, effort: Effort = Effort.BALANCED
    ) -> tuple[Floats, Rows]:
        """Find the k nearest rows of each query.

        Args:
            queries: (n, dimension) float32.
            allowed: (m,) int64, ascending: rows that may be found, be they here or not; None for all.
            effort: how hard to look, where the index is approximate.

        Returns:
            Scores (n, k) float32, larger is nearer, best first; and rows (n, k) int64. Where there are fewer
            than k rows, the rest is -1, with a score of minus infinity. Of equal scores the lower row comes
            first.

        Raises:
            InvalidArgumentError: the queries are of another shape, or so long that scores would be infinite.
            ResourceExhaustedError: too many searches wait.
            DeadlineExceededError, CancelledError: nobody waits for the answer any more.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidArgumentError("queries", queries.shape, f"must be (n, {self.dimension})")
        check_finite_scores("queries", queries, self.metric)
        question = _Question(prepared(self.metric, queries), k, allowed, effort)
        deadline = current()
        answer = self._searches.submit(question, Priority.QUERY, deadline)
        try:
            return answer.result(deadline.seconds)
        except TimeoutError:
            answer.cancel()
            raise DeadlineExceededError("the deadline passed before the search was done") from None

    def _answer(self, questions: Sequence[_Question]) -> list[tuple[Floats, Rows]]:
        """One search for all questions that are waiting and are alike but for their queries."""
        state = self._state
        alike: dict[tuple[int, Effort], list[int]] = defaultdict(list)
        for number, question in enumerate(questions):
            alike[id(question.allowed), question.effort].append(number)
        answers: dict[int, tuple[Floats, Rows]] = {}
        for numbers in alike.values():
            answers.update(zip(numbers, self._together(state, [questions[n] for n in numbers]), strict=True))
        return [answers[number] for number in range(len(questions))]

    def _together(self, state: _State, questions: Sequence[_Question]) -> Iterator[tuple[Floats, Rows]]:
        k = max(question.k for question in questions)
        queries = torch.from_numpy(np.concatenate([question.queries for question in questions]))
        scores, places = self._nearest(state, queries, k, questions[0].allowed, questions[0].effort)
        rows = np.full(places.shape, -1, np.int64)
        rows[places >= 0] = state.moment.rows[places[places >= 0]]
        start = 0
        for question in questions:
            end = start + len(question.queries)
            yield scores[start:end, : question.k], rows[start:end, : question.k]
            start = end

    def _nearest(
        self, state: _State, queries: torch.Tensor, k: int, allowed: Rows | None, effort: Effort
    ) -> tuple[Floats, Places]:
        moment = state.moment
        if allowed is not None and len(allowed) <= min(MAX_GATHERED, MAX_GATHERED_SHARE * len(moment)):
            # So few are left that to look at each of them, in full precision, is the fastest.
            return scan_places(moment, queries, k, moment.places(allowed))
        mask: Mask | None = None
        if allowed is not None:
            mask = moment.mask(allowed) & moment.living()
        elif moment.dead:
            mask = moment.living()
        if state.approximate is None:
            return scan(moment, state.codes, queries, k, mask)
        if effort is Effort.EXACT:
            return scan_all(moment, queries, k, mask)
        return self._approximately(state, state.approximate, queries, k, mask, effort)

    def _approximately(
        self,
        state: _State,
        approximate: Approximate,
        queries: torch.Tensor,
        k: int,
        mask: Mask | None,
        effort: Effort,
    ) -> tuple[Floats, Places]:
        moment, first = state.moment, state.codes.first
        amount = approximate.effort(self._policy.recall_of(effort))
        present = len(moment) if mask is None else int(np.count_nonzero(mask))
        bits = None if mask is None else np.packbits(mask, bitorder="little")
        # The nearest of the few that are left lie farther away, among more lists or candidates.
        amount = round(amount * np.sqrt(len(moment) / max(present, 1)))
        found, places = approximate.search(moment.until(first), queries, k, amount, bits)
        if first < len(moment):
            tail = scan(moment, state.codes, queries, k, None if mask is None else mask[first:])
            found, places = best(np.hstack([found, tail[0]]), np.hstack([places, tail[1]]), k)
        missed = places[:, min(k, present) - 1] < 0 if present else np.zeros(len(queries), np.bool_)
        if missed.any():
            found[missed], places[missed] = scan_all(moment, queries[torch.from_numpy(missed)], k, mask)
        if effort is Effort.BALANCED and k >= RECALL_K and self._live_recall.due():
            one = queries[:1]
            self._live_recall.compare(
                places[0, :RECALL_K], lambda: scan_all(moment, one, RECALL_K, mask)[1][0]
            )
        return found, places

    # -- Upkeep -----------------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._state = _State(self._vectors.moment(), self._codes.moment(), self._approximate)

    def _start_upkeep(self) -> None:
        if self._upkeep is None and not self._closed and self._due() is not None:
            self._upkeep = threading.Thread(target=self._keep_up, name=f"upkeep-{self._name}", daemon=True)
            self._upkeep.start()

    def _due(self) -> Callable[[], None] | None:
        """What has to be done about the index, if anything."""
        living, count = self._vectors.living, self._vectors.count
        if count < self._retry_at:
            return None
        wanted = self._policy.choose(living)
        if self._approximate is None:
            outgrown = wanted is not None
        else:
            outgrown = wanted != self._approximate.factory and living > MAX_GROWTH * self._built_for
        if outgrown or self._vectors.dead > MAX_DEAD_SHARE * count:
            return self._rebuild
        tail = 0 if self._approximate is None else count - self._codes.first
        return self._add_tail if tail > MAX_TAIL else None

    def _keep_up(self) -> None:
        # Half of the cores, for searches go on meanwhile; the count is this thread's own.
        faiss.omp_set_num_threads(max(1, faiss.omp_get_max_threads() // 2))
        while True:
            with self._lock:
                task = None if self._closed else self._due()
                if task is None:
                    self._upkeep = None
                    return
            try:
                task()
            except Exception:
                log.exception("%s: the index could not be brought up to date; searches scan more", self._name)
                self._retry_at = int(MAX_GROWTH * self._vectors.count)

    def _add_tail(self) -> None:
        approximate, moment = self._approximate, self._state.moment
        assert approximate is not None
        approximate.add(moment.vectors[len(approximate) :].numpy(), self._goes_on)
        if len(approximate) > MAX_GROWTH * self._built_for:
            # What was effort enough among half as many is so no longer.
            approximate.tune(moment, self._goes_on)
            self._built_for = len(approximate)
            log.info("%s: %r", self._name, self)
        with self._lock:
            self._codes = self._new_codes(len(approximate))
            self._publish()
        if len(approximate) > MAX_UNSAVED_GROWTH * self._saved:
            self._save()

    def _save(self) -> None:
        """Write the snapshot, if it has anything that is not in the one before."""
        with self._lock:
            approximate, moment, sequence = self._approximate, self._state.moment, self._sequence
        if self._snapshots is None or approximate is None or len(approximate) == self._saved:
            return
        try:
            self._snapshots.write(Snapshot.take(approximate, moment, sequence, self._built_for))
        except OSError as error:
            # It is a cache: without it the next start takes longer.
            log.warning("%s: the index could not be kept for the next start: %s", self._name, error)
        else:
            self._saved = len(approximate)

    def _rebuild(self) -> None:
        """Write the index anew from the living, beside the one that serves, and put it in its place."""
        before = self._state.moment
        few_dead = before.dead <= KEPT_DEAD_SHARE * len(before)
        vectors = self._vectors if few_dead else self._living_of(before)
        moment = before if few_dead else vectors.moment()
        wanted = self._policy.choose(len(moment) - moment.dead)
        approximate = None
        if wanted is not None:
            log.info("%s: building %s over %d vectors", self._name, wanted, len(moment))
            approximate = Approximate.train(wanted, moment)
            approximate.add(moment.vectors.numpy(), self._goes_on)
            if self._goes_on():
                approximate.tune(moment, self._goes_on)
        if not self._goes_on():
            return
        with self._lock:
            if vectors is not self._vectors:
                _catch_up(vectors, self._vectors.moment(), before)
            self._vectors = vectors
            self._approximate = approximate
            self._codes = self._new_codes(0 if approximate is None else len(approximate))
            self._built_for = 0 if approximate is None else len(moment)
            self._publish()
            self._live_recall.forget()
        log.info("%s: %r", self._name, self)
        self._saved = 0
        self._save()
        if approximate is not None and approximate.curve[-1].recall < self._policy.recall:
            log.warning("%s: %r at most; the policy asks for %g", self._name, self, self._policy.recall)

    def _living_of(self, moment: Moment) -> Vectors:
        living = np.flatnonzero(moment.living())
        vectors = Vectors(self.metric, self.dimension, capacity=len(living))
        if len(living):
            vectors.append(moment.rows[living], moment.vectors[torch.from_numpy(living)].numpy())
        return vectors

    def _new_codes(self, first: int) -> Codes:
        return Codes(first, self._vectors.moment().vectors[first:])

    def _goes_on(self) -> bool:
        return not self._closed


def _catch_up(vectors: Vectors, now: Moment, before: Moment) -> None:
    """Bring the living of a moment before up to now: what was added since, and what died."""
    since = len(before)
    if len(now) > since:
        vectors.append(now.rows[since:], now.vectors[since:].numpy())
    vectors.bury(now.rows[~now.living()])
