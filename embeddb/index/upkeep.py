"""What keeps a space's index as its policy wants it: built, grown, swept and kept for the next start."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import faiss

from embeddb.errors import DataLossError
from embeddb.index.approximate import Approximate
from embeddb.index.contents import Contents
from embeddb.index.gpu import Gpu
from embeddb.index.placement import Placement
from embeddb.index.policy import IndexPolicy
from embeddb.index.recall import LiveRecall
from embeddb.index.snapshot import Snapshot, SnapshotFile
from embeddb.index.vectors import Moment, Vectors

__all__ = ["Upkeep"]

# The index is built anew when so large a share of its places is dead, when there are so many times as many,
# or when a search reads so many times as large a share of them as it did at first.
MAX_DEAD_SHARE = 0.25
MAX_GROWTH = 2.0
MAX_DRIFT = 2.0
# What was effort enough is measured again among so many times as many.
MAX_UNTUNED_GROWTH = 1.25
# That takes seconds of the processor, so while vectors are being loaded it waits until so many times as many.
MAX_UNTUNED_LOAD = 2.0
# The dead are left where they are as long as they are no more than this share.
KEPT_DEAD_SHARE = 0.05
# A crash costs the next start no more than to add what the index has grown by since it was kept.
MAX_UNSAVED_GROWTH = 1.25
# So many vectors are scanned beside an approximate index before they are added to it.
MAX_TAIL = 1024
# Where more than such a share is not added yet, that is done before the index is built anew: until then every
# search scans it, and its codes take as much memory as the vectors, or half of it.
MAX_TAIL_SHARE = 0.1
# Vectors are being loaded while there are so many times as many after so many seconds.
LOAD_GROWTH, LOAD_SECONDS = 1.01, 0.5
COPIED_AT_ONCE = 8192
# For so many seconds after a start its searches have the cores and the disk, unless one needs all vectors.
RECEIVE_DELAY = 1.0
# So many vectors that were added are no longer scanned, while the rest of them is added.
COVERED_AT_ONCE = 1024
# Who puts waits while more than so many are not added yet, and while others are: each search scans them all,
# by one call as long as there are no more than `embeddb.index.tail.MOST_PLACES` with a batch on top.
HELD_BACK_TAIL = 3072
# Nobody waits for more than so many times as many to be added as he put.
HELD_BACK_TIMES = 2
# After so many seconds, vectors that could not be read from storage are asked for again.
RECEIVE_PAUSE = 30.0
# Between two looks at the clock, of which the first says that it is not yet time.
SHORTEST_PAUSE = 0.01

log = logging.getLogger(__name__)


class Upkeep:
    """A thread that runs while there is something to do, beside the searches.

    Args:
        contents: of the index.
        policy: which index, and how good.
        live_recall: starts anew when the index or its efforts are others.
        name: of the thread, and in the log.
        snapshots: where the index is kept from one start to the next; None for nowhere.
        saved: how many places the snapshot has.
        gpu: where the index is put, as far as it has room; None for nowhere.
    """

    def __init__(
        self,
        contents: Contents,
        policy: IndexPolicy,
        live_recall: LiveRecall,
        name: str,
        snapshots: SnapshotFile | None,
        saved: int = 0,
        gpu: Gpu | None = None,
    ) -> None:
        self._contents = contents
        self._policy = policy
        self._live_recall = live_recall
        self._name = name
        self._snapshots = snapshots
        self._saved = saved
        self._placement = (
            None if gpu is None else Placement(gpu, contents, policy, live_recall, name, self.wake)
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._timer: threading.Timer | None = None
        self._closed = threading.Event()
        # How many places there must be before what failed is tried again.
        self._retry_at = 0
        # When the vectors that are coming are asked for, by the clock of `time.monotonic`.
        self._receive_at = time.monotonic() + RECEIVE_DELAY
        # When the index is tuned anew, by the same clock as above.
        self._tune_at = 0.0
        # Whether a tail is being added that puts wait for; of each part of it, and of its end, they are told.
        self._adding = False
        self._added = threading.Condition()

    def wake(self) -> None:
        """Begin with what has to be done, if anything; returns at once."""
        with self._lock:
            self._begin()

    def hurry(self) -> None:
        """Begin to read the vectors that are coming, if that was not tried yet: somebody waits for them."""
        coming = self._contents.state.moment.coming
        if coming is not None and not coming.over:
            self._receive_at = 0.0
            self.wake()

    def hold_back(self, count: int) -> None:
        """Have someone who put so many wait while the approximate index is being added to and far behind.

        Nobody waits for more than twice as many to be added, be the index ever so far behind, as it is after
        a build: if all wait for that, it catches up. Nor for anything but additions, or for those to a graph,
        which take many times as long as puts.
        """
        with self._added:
            start = self._covered()
            self._added.wait_for(
                lambda: (
                    not self._adding
                    or len(self._contents.state.moment) - self._covered() <= HELD_BACK_TAIL
                    or self._covered() >= start + HELD_BACK_TIMES * count
                )
            )

    def settle(self) -> None:
        """Return when nothing has to be done any more."""
        self.hurry()
        while (thread := self._begun_at_once()) is not None:
            thread.join()

    def _begun_at_once(self) -> threading.Thread | None:
        """The thread, if it has anything to do, the end of a load not waited for."""
        with self._lock:
            self._tune_at = 0.0
            self._begin()
            return self._thread

    def _begin(self) -> None:
        """Start the thread if there is anything to do and none runs; called with the lock."""
        if self._thread is not None or self._closed.is_set():
            return
        if self._due() is None:
            self._wake_later()
            return
        thread = threading.Thread(target=self._run, name=f"upkeep-{self._name}", daemon=True)
        thread.start()
        self._thread = thread

    def close(self) -> None:
        """Break off what is under way, and keep the index for the next start."""
        with self._lock:
            self._closed.set()
            if self._timer is not None:
                self._timer.cancel()
        self.settle()
        # Its thread may have ended before it began to read them.
        self._contents.give_up()
        self._save()

    def _run(self) -> None:
        # Half of the cores, for searches go on meanwhile; the count is this thread's own.
        faiss.omp_set_num_threads(max(1, faiss.omp_get_max_threads() // 2))
        while True:
            with self._lock:
                # If this raises, the thread ends, and the next to wake begins another.
                self._thread = None
                task = None if self._closed.is_set() else self._due()
                if task is None:
                    self._wake_later()
                    return
                self._thread = threading.current_thread()
            try:
                task()
            except Exception:
                log.exception("%s: the index could not be brought up to date; searches scan more", self._name)
                self._retry_at = int(MAX_GROWTH * len(self._contents.state.moment))

    def _due(self) -> Callable[[], None] | None:
        """What has to be done about the index, if anything."""
        state = self._contents.state
        if state.moment.coming is not None:
            return self._receive if time.monotonic() >= self._receive_at else None
        approximate, count, dead = state.approximate, len(state.moment), state.moment.dead
        if count < self._retry_at:
            return None
        if dead > MAX_DEAD_SHARE * count:
            return self._rebuild
        placement = self._placement
        if placement is not None and (place := placement.due(state)) and not placement.rest_left:
            return place
        wanted = self._wanted(count - dead)
        if approximate is None:
            return None if wanted is None else self._build_first
        outgrown = wanted != approximate.factory and count - dead > MAX_GROWTH * approximate.tuned.built_for
        untuned, tail = self._untuned(approximate), count - len(approximate)
        can_add = tail > MAX_TAIL and untuned < MAX_UNTUNED_LOAD
        is_behind = can_add and tail > MAX_TAIL_SHARE * count
        if (outgrown or approximate.tuned.drift > MAX_DRIFT) and not is_behind:
            return self._rebuild
        if approximate.sweepable and dead - approximate.swept > KEPT_DEAD_SHARE * count:
            return self._sweep
        if can_add:
            return self._add_tail
        if untuned <= MAX_UNTUNED_GROWTH:
            return None
        is_time = untuned >= MAX_UNTUNED_LOAD or time.monotonic() >= self._tune_at
        return self._tune if is_time else None

    def _wake_later(self) -> None:
        """Wake after the pause that something waits for, if anything does; called with the lock."""
        seconds = self._pause()
        if seconds and self._timer is None and not self._closed.is_set():
            timer = threading.Timer(seconds, self._wake_rested)
            timer.daemon = True
            timer.start()
            self._timer = timer

    def _pause(self) -> float:
        """For how many seconds something has to wait: for storage, or for the GPU to have rested."""
        state = self._contents.state
        if state.moment.coming is not None:
            return max(SHORTEST_PAUSE, self._receive_at - time.monotonic())
        if self._placement is not None and self._placement.due(state) is not None:
            return self._placement.rest_left
        approximate = state.approximate
        if approximate is None or len(state.moment) < self._retry_at:
            return 0.0
        if self._untuned(approximate) <= MAX_UNTUNED_GROWTH:
            return 0.0
        return max(SHORTEST_PAUSE, self._tune_at - time.monotonic())

    def _wake_rested(self) -> None:
        with self._lock:
            self._timer = None
        self.wake()

    def _receive(self) -> None:
        """Read the vectors that are coming; nothing else is done about the index before they are here."""
        try:
            self._contents.receive(self._goes_on, self._unfit)
        except Exception:
            self._receive_at = time.monotonic() + RECEIVE_PAUSE
            log.exception(
                "%s: not all vectors could be read from storage: in %g seconds they are asked for again; "
                "until then, filtered and exact searches fail",
                self._name,
                RECEIVE_PAUSE,
            )

    def _unfit(self, error: DataLossError) -> None:
        """Delete a snapshot that lacks what storage had when it was made."""
        assert self._snapshots is not None
        self._snapshots.discard(error)
        self._saved = 0

    def _wanted(self, living: int) -> str | None:
        """The index that so many vectors should have; None for the exact scan, which a GPU does for all."""
        on_gpu = self._contents.state.codes.gpu is not None
        dimension = self._contents.state.moment.kept.shape[1]
        return None if on_gpu else self._policy.choose(living, dimension, self._placement is not None)

    def _add_tail(self) -> None:
        """Add what is scanned beside the approximate index to it."""
        moment, approximate = self._contents.state.moment, self._contents.state.approximate
        assert approximate is not None
        self._adding = approximate.codes_beside
        try:
            for start in range(len(approximate), len(moment), COVERED_AT_ONCE):
                approximate.add(moment.since(start)[:COVERED_AT_ONCE], self._goes_on)
                self._contents.cover(approximate)
                self._tell_added()
        finally:
            self._adding = False
            self._tell_added()
        self._tune_at = time.monotonic() + LOAD_SECONDS
        if self._untuned(approximate) <= MAX_UNTUNED_GROWTH:
            self._save_grown()

    def _tell_added(self) -> None:
        with self._added:
            self._added.notify_all()

    def _covered(self) -> int:
        """How many places the approximate index stands for."""
        return self._contents.state.codes.first

    @staticmethod
    def _untuned(approximate: Approximate) -> float:
        """How many times as many places it has as when it was tuned."""
        return len(approximate) / approximate.tuned.places

    def _tune(self) -> None:
        """Measure anew what is effort enough in an approximate index that has grown."""
        moment, approximate = self._contents.state.moment, self._contents.state.approximate
        assert approximate is not None
        approximate.tune(moment, self._policy.recall, self._goes_on)
        self._live_recall.forget()
        log.info("%s: %s", self._name, approximate.describe(self._policy.recall))
        if self._goes_on() and self._finer(approximate) is not None:
            self._rebuild()
        self._save_grown()

    def _sweep(self) -> None:
        """Take the dead out of the lists of the approximate index, all of them."""
        self._add_tail()
        moment, approximate = self._contents.state.moment, self._contents.state.approximate
        assert approximate is not None
        approximate.sweep(moment)

    def _save_grown(self) -> None:
        """Write the snapshot, if the index has outgrown it."""
        approximate = self._contents.state.approximate
        if approximate is not None and len(approximate) > MAX_UNSAVED_GROWTH * self._saved:
            self._save()

    def _save(self) -> None:
        """Write the snapshot, if the index has anything that is not in the one before."""
        state = self._contents.state
        if self._snapshots is None or state.approximate is None or len(state.approximate) == self._saved:
            return
        try:
            self._snapshots.write(Snapshot.take(state.approximate, state.moment, state.sequence))
        except OSError as error:
            # It is a cache: without it the next start takes longer.
            log.warning("%s: the index could not be kept for the next start: %s", self._name, error)
        else:
            self._saved = len(state.approximate)

    def _build_first(self) -> None:
        """Build an index where there is none; while many are added, and it can wait, they have the cores."""
        before, count = 0, len(self._contents.state.moment)
        while self._policy.can_wait(count) and count > LOAD_GROWTH * before and self._goes_on():
            self._closed.wait(LOAD_SECONDS)
            before, count = count, len(self._contents.state.moment)
        if self._goes_on():
            self._rebuild()

    def _rebuild(self) -> None:
        """Build the index anew from the living, beside the one that serves, and put it in its place."""
        before = self._contents.state.moment
        living = _living_of(before) if before.dead > KEPT_DEAD_SHARE * len(before) else None
        moment = before if living is None else living.moment()
        wanted = self._wanted(moment.living.count)
        approximate = None if wanted is None else self._built(wanted, moment)
        if not self._goes_on():
            return
        if living is None:
            self._contents.cover(approximate)
        else:
            self._contents.replace(before, living, approximate)
        self._live_recall.forget()
        self._saved = 0
        self._save()

    def _built(self, factory: str, moment: Moment) -> Approximate:
        """An index over all places of a moment; not all of it, where that has to end."""
        approximate = self._trained(factory, moment)
        while self._goes_on() and (finer := self._finer(approximate)) is not None:
            approximate = self._trained(finer, moment)
        return approximate

    def _finer(self, approximate: Approximate) -> str | None:
        """What to have in place of an index that finds too little, however hard it looks, if anything."""
        asked = self._policy.recall
        if approximate.tuned.curve[-1].recall >= asked:
            return None
        log.warning("%s: %s at most; the policy asks for %g", self._name, approximate.describe(1.0), asked)
        return self._policy.finer(approximate.factory)

    def _trained(self, factory: str, moment: Moment) -> Approximate:
        log.info("%s: building %s over %d vectors", self._name, factory, len(moment))
        approximate = Approximate.train(factory, moment)
        approximate.add(moment.vectors, self._goes_on)
        approximate.tune(moment, self._policy.recall, self._goes_on)
        if self._goes_on():
            log.info("%s: %s", self._name, approximate.describe(self._policy.recall))
        return approximate

    def _goes_on(self) -> bool:
        return not self._closed.is_set()


def _living_of(moment: Moment) -> Vectors:
    """The living of a moment alone."""
    places = moment.living_places()
    vectors = Vectors(moment.metric, moment.vectors.shape[1], moment.vectors.dtype, len(places))
    for start in range(0, len(places), COPIED_AT_ONCE):
        some = places[start : start + COPIED_AT_ONCE]
        vectors.append(moment.rows[some], moment.vectors[some])
    return vectors
