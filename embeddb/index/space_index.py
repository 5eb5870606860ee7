"""One space's index: what is searched of a collection through one model."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embeddb.batching import Batcher, Priority
from embeddb.deadline import current
from embeddb.errors import DataLossError, InvalidArgumentError
from embeddb.index.approximate import Approximate
from embeddb.index.codes import CodeMoment
from embeddb.index.coming import Source, ahead
from embeddb.index.contents import Contents
from embeddb.index.faiss_search import OneThread
from embeddb.index.gpu import Gpu
from embeddb.index.metric import check_finite_scores, prepared
from embeddb.index.policy import IndexPolicy
from embeddb.index.recall import LiveRecall
from embeddb.index.searching import Question, Searching
from embeddb.index.snapshot import SnapshotFile
from embeddb.index.upkeep import Upkeep
from embeddb.index.vectors import Vectors
from embeddb.options import Effort
from embeddb.query import Encoding, Metric

__all__ = ["SpaceIndex"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MAX_SEARCHES_AT_ONCE = 64
MAX_QUEUE = 4096
# Puts go before the index for as long as nobody has searched for so many seconds.
SEARCHED_SECONDS = 1.0

log = logging.getLogger(__name__)


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
        encoding: of the vectors in memory, as on the disk.
        gpu: where the index is searched, as far as it has room; None for the processor alone.
    """

    def __init__(
        self,
        dimension: int,
        metric: Metric = Metric.COSINE,
        policy: IndexPolicy | None = None,
        name: str = "index",
        snapshots: SnapshotFile | None = None,
        encoding: Encoding = Encoding.FLOAT32,
        gpu: Gpu | None = None,
    ) -> None:
        self.dimension = dimension
        self.metric = metric
        self._policy = policy or IndexPolicy()
        self._name = name
        self._snapshots = snapshots
        self._encoding = encoding
        self._gpu = gpu
        self._searched_at = -SEARCHED_SECONDS
        self._live_recall = LiveRecall(f"recall-{name}")
        self._searching = Searching(self._policy, self._live_recall, self._fault)
        self._hold(Contents(self._new_vectors(), name=name))
        self._searches = Batcher(f"search-{name}", self._answer, MAX_SEARCHES_AT_ONCE, MAX_QUEUE)

    def __len__(self) -> int:
        return self._contents.state.moment.living.count

    def __repr__(self) -> str:
        state = self._contents.state
        if state.approximate is not None:
            return state.approximate.describe(self._policy.recall)
        return "exact" if state.codes.gpu is None else f"exact, on {state.codes.gpu}"

    @property
    def recall(self) -> float | None:
        """The recall@10 of live searches of balanced effort; None where none was compared."""
        return self._live_recall.mean

    # -- Changing ---------------------------------------------------------------------------------------

    def fill(self, source: Source, count: int, sequence: int) -> None:
        """Fill an index that is new with what storage has, and its snapshot, if that is of any use.

        Where it is, the vectors that the snapshot's index has are read beside the searches, after the first
        ones. Only those wait that need all of them: searches with a filter, exact ones, and those that the
        index finds too few for.

        Args:
            source: has the vectors.
            count: how many there are, about.
            sequence: of storage's last commit.
        """
        restored = self._restored(source, count, sequence)
        if restored is None:
            vectors = self._new_vectors(count)
            self._append(vectors, source)
            self._hold(Contents(vectors, sequence=sequence, name=self._name))
        else:
            vectors, approximate = restored
            self._hold(Contents(vectors, approximate, sequence, self._name), saved=len(approximate))
        self._upkeep.wake()

    def update(self, rows: Rows, vectors: Floats, removed: Rows, sequence: int = 0) -> None:
        """Add rows and take others out, in one step for every search.

        Beside searches it waits a while where the approximate index is far behind; see `Upkeep.hold_back`.

        Args:
            rows: (n,) int64, ascending, all beyond those that were ever here.
            vectors: (n, dimension) float32.
            removed: (m,) int64; those that are not here are passed over.
            sequence: of the commit that did it.
        """
        if vectors.shape != (len(rows), self.dimension):
            raise InvalidArgumentError("vectors", vectors.shape, f"must be ({len(rows)}, {self.dimension})")
        known = prepared(self.metric, vectors)
        while (coming := self._contents.update(rows, known, removed, sequence)) is not None:
            self._upkeep.hurry()
            coming.join()
        self._upkeep.wake()
        if time.monotonic() < self._searched_at + SEARCHED_SECONDS:
            self._upkeep.hold_back(len(rows))

    def settle(self) -> None:
        """Return when the index is as the policy wants it, if nothing is written meanwhile."""
        self._upkeep.settle()

    def close(self) -> None:
        """Answer the searches that wait, end the threads, and keep the index for the next start."""
        self._upkeep.close()
        self._searches.close()
        self._live_recall.close()
        self._contents.close()

    # -- Searching --------------------------------------------------------------------------------------

    def search(
        self,
        queries: Floats,
        k: int,
        allowed: Rows | None = None,
        effort: Effort = Effort.BALANCED,
        *,
        here: bool = False,
    ) -> tuple[Floats, Rows]:
        """Find the k nearest rows of each query.

        Args:
            queries: (n, dimension) float32.
            allowed: (m,) int64, ascending: rows that may be found, be they here or not; None for all.
            effort: how hard to look, where the index is approximate.
            here: whether several queries stay on the calling thread, too, where a lone one would: that takes
                longer than on all cores, and less of them.

        Returns:
            Scores (n, k) float32, larger is nearer, best first; and rows (n, k) int64. Where there are fewer
            than k rows, the rest is -1, with a score of minus infinity. Of equal scores the lower row comes
            first.

        Raises:
            InvalidArgumentError: the queries are of another shape, or so long that scores would be infinite.
            ResourceExhaustedError: too many searches wait.
            UnavailableError: the vectors could not be read from storage.
            DeadlineExceededError, CancelledError: nobody waits for the answer any more.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidArgumentError("queries", queries.shape, f"must be (n, {self.dimension})")
        check_finite_scores("queries", queries, self.metric)
        self._searched_at = time.monotonic()
        if allowed is not None or effort is Effort.EXACT:
            # On this thread, and not on the one that answers others meanwhile.
            self._wait()
        question = Question(prepared(self.metric, queries), k, allowed, effort, here)
        whole = self._contents.state.moment.coming is None
        scores, rows = self._ask(question)
        if not whole and (rows[:, : len(self)] < 0).any():
            # The index alone found too few. To look at the others takes all vectors.
            self._wait()
            return self._ask(question)
        return scores, rows

    @property
    def is_prompt(self) -> bool:
        """Whether a lone query for a few hits would be answered on its caller's thread, at this moment."""
        return self._searching.is_prompt(self._contents.state)

    # -- Inside -----------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Return when all vectors are here; see `Contents.wait`."""
        self._upkeep.hurry()
        self._contents.wait()

    def _ask(self, question: Question) -> tuple[Floats, Rows]:
        """The answer, by this thread where that is quick, otherwise together with others."""
        state = self._contents.state
        if self._searching.is_quick(state, question):
            current().check()
            if len(question.queries) == 1:
                return self._searching.answer(state, [question])[0]
            with OneThread():
                return self._searching.answer(state, [question])[0]
        return self._searches.wait(self._searches.submit(question, Priority.QUERY))

    def _answer(self, questions: Sequence[Question]) -> list[tuple[Floats, Rows]]:
        return self._searching.answer(self._contents.state, questions)

    def _fault(self, codes: CodeMoment, error: Exception) -> None:
        self._contents.fault(codes, error)
        # So many may want an approximate index now.
        self._upkeep.wake()

    def _new_vectors(self, capacity: int = 0) -> Vectors:
        return Vectors(self.metric, self.dimension, self._encoding, capacity)

    def _hold(self, contents: Contents, saved: int = 0) -> None:
        self._contents = contents
        self._upkeep = Upkeep(
            contents, self._policy, self._live_recall, self._name, self._snapshots, saved, self._gpu
        )

    def _append(self, vectors: Vectors, source: Source, after: int = -1) -> None:
        """Read what storage has beyond a row."""
        for rows, batch in ahead(source.scan(after)):
            vectors.append(rows, prepared(self.metric, batch))

    def _restored(self, source: Source, count: int, sequence: int) -> tuple[Vectors, Approximate] | None:
        """The index of the snapshot, and the vectors, its own still to come; None if that cannot be."""
        if self._snapshots is None:
            return None
        if self._policy.choose(count, self.dimension) is None:
            # Once storage has gone on, it might seem to fit.
            self._snapshots.delete()
            return None
        snapshot = self._snapshots.read(sequence)
        if snapshot is None:
            return None
        dead = source.are_dead(snapshot.rows)
        # The dead of the snapshot have places too.
        since = max(0, count - int(np.count_nonzero(~dead)))
        vectors = self._new_vectors(len(snapshot.rows) + since)
        vectors.expect(snapshot.rows, dead, source)
        try:
            self._append(vectors, source, after=int(snapshot.rows[-1]))
            snapshot.check(vectors.moment())
        except DataLossError as error:
            self._snapshots.discard(error)
            return None
        since = vectors.count - len(snapshot.rows)
        log.info("%s: the index of commit %d, and %d vectors since", self._name, snapshot.sequence, since)
        return vectors, snapshot.approximate
