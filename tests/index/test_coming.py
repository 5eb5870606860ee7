"""A start that took up an index: searches are answered while its vectors are still read from storage."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from embeddb.deadline import Deadline, within
from embeddb.errors import CancelledError, DeadlineExceededError, UnavailableError
from embeddb.index import IndexPolicy, SnapshotFile, SpaceIndex, approximate, upkeep, vectors
from embeddb.options import Effort
from embeddb.query import Encoding, Metric

DIMENSION = 8
VECTORS = np.random.default_rng(0).normal(size=(3000, DIMENSION)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(40, DIMENSION)).astype(np.float32)
NONE = np.empty(0, np.int64)

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Gated:
    """Storage whose scan from the first row waits at a gate; it knows some rows whose vectors it has lost."""

    def __init__(self, path: Path, metric: Metric, encoding: Encoding) -> None:
        self.stored = dict(enumerate(VECTORS[:2000]))
        self.lost: set[int] = set()
        self.fails = False
        self.scanned = 0
        self.gate = threading.Event()
        self._path = path / "a.index"
        self._metric, self._encoding = metric, encoding

    def open(self) -> SpaceIndex:
        snapshots, policy = SnapshotFile(self._path, {}), IndexPolicy("IVF16,SQ8")
        index = SpaceIndex(DIMENSION, self._metric, policy, "a", snapshots, self._encoding)
        index.fill(self, len(self.stored), sequence=1)
        return index

    def are_dead(self, rows: Rows) -> npt.NDArray[np.bool_]:
        return ~np.isin(rows, list(self.stored))

    def scan(self, after: int = -1) -> Iterator[tuple[Rows, Floats]]:
        rows = np.array(list(self.stored), np.int64)
        for part in np.array_split(rows[rows > after], 5):
            if after < 0:
                self.gate.wait()
                if self.fails:
                    raise OSError("the disk is gone")
            part = part[~np.isin(part, list(self.lost))]
            if len(part):
                self.scanned += 1
                yield part, np.stack([self.stored[row] for row in part.tolist()])

    def read(self, rows: Rows) -> dict[int, Floats]:
        return {row: self.stored[row] for row in rows.tolist() if row not in self.lost}


@pytest.fixture(
    params=[
        (Metric.COSINE, Encoding.FLOAT32),
        (Metric.COSINE, Encoding.FLOAT16),
        (Metric.L2, Encoding.FLOAT32),
        (Metric.INNER_PRODUCT, Encoding.FLOAT32),
    ],
    ids=["cosine", "float16", "l2", "inner_product"],
)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Gated:
    """Two thousand rows with a snapshot, behind a closed gate."""
    storage = Gated(tmp_path, *request.param)
    storage.gate.set()
    index = storage.open()
    index.settle()
    index.close()
    storage.gate.clear()
    return storage


def test_answers_are_the_same_before_and_after_the_vectors_are_here(storage: Gated) -> None:
    index = storage.open()
    one_by_one = [index.search(query[None], 5) for query in QUERIES]
    together = index.search(QUERIES, 5)
    assert index._contents.state.moment.coming is not None
    storage.gate.set()
    index.settle()
    assert index._contents.state.moment.coming is None
    scores, rows = index.search(QUERIES, 5)
    for early_scores, early_rows in ([np.concatenate(each) for each in zip(*one_by_one)], together):  # noqa: B905
        np.testing.assert_array_equal(early_rows, rows)
        np.testing.assert_allclose(early_scores, scores, rtol=1e-6)
    index.close()


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "filtered"])
def test_who_needs_all_vectors_waits_for_them_and_no_one_else(storage: Gated, exact: bool) -> None:
    index = storage.open()
    with ThreadPoolExecutor(1) as other:
        waiting = (
            other.submit(index.search, QUERIES, 5, effort=Effort.EXACT)
            if exact
            else other.submit(index.search, QUERIES, 5, np.arange(0, 2000, 2))
        )
        for query in QUERIES:
            assert (index.search(query[None], 5)[1] >= 0).all()
        assert not waiting.done()
        storage.gate.set()
        early = waiting.result(30)
    late = index.search(QUERIES, 5, *([] if exact else [np.arange(0, 2000, 2)]), effort=Effort.EXACT)
    if exact:
        np.testing.assert_array_equal(early[1], late[1])
    else:
        assert (early[1] % 2 == 0).all()
    index.close()


def test_vectors_are_read_a_while_after_the_start(storage: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RECEIVE_DELAY", 0.05)
    storage.gate.set()
    index = storage.open()
    for _ in range(200):
        if index._contents.state.moment.coming is None:
            break
        time.sleep(0.05)
    assert index._contents.state.moment.coming is None
    index.close()


def test_vectors_are_read_sooner_for_who_needs_them_all(
    storage: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "RECEIVE_DELAY", 3600.0)
    storage.gate.set()
    storage.scanned = 0
    index = storage.open()
    assert (index.search(QUERIES, 5)[1] >= 0).all()
    assert storage.scanned == 0
    assert (index.search(QUERIES, 5, effort=Effort.EXACT)[1] >= 0).all()
    assert index._contents.state.moment.coming is None
    index.close()


def test_who_gets_too_few_hits_waits_and_keeps_no_one_else_from_an_answer(
    storage: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 16 lists, which hold fewer than these want.
    monkeypatch.setattr(approximate.Approximate, "effort", lambda *_: 8)
    index = storage.open()
    with ThreadPoolExecutor(2) as others:
        waiting = [others.submit(index.search, QUERIES[:2], k) for k in (1500, 2000)]
        for _ in range(10):
            assert index.search(QUERIES, 5)[1].min() >= 0
        assert not any(each.done() for each in waiting)
        storage.gate.set()
        for each, k in zip(waiting, (1500, 2000), strict=True):
            rows = each.result(30)[1]
            assert rows.min() >= 0
            np.testing.assert_array_equal(rows, index.search(QUERIES[:2], k, effort=Effort.EXACT)[1])
    index.close()


def test_what_is_written_meanwhile_is_seen(storage: Gated) -> None:
    index = storage.open()
    index.update(np.arange(2000, 2100), VECTORS[2000:2100], np.array([7, 2001]), 2)
    nearest = {row: index.search(VECTORS[row][None], 1)[1][0, 0] for row in (7, 2000, 2001, 2099)}
    assert nearest[7] != 7
    assert nearest[2001] != 2001
    if storage._metric is not Metric.INNER_PRODUCT:
        assert (nearest[2000], nearest[2099]) == (2000, 2099)
    storage.stored |= dict(zip(range(2000, 2100), VECTORS[2000:2100], strict=True))
    storage.gate.set()
    index.settle()
    assert len(index) == 2098
    found = index.search(VECTORS[:2100], 1, effort=Effort.EXACT)[1][:, 0]
    assert not np.isin(found, [7, 2001]).any()
    if storage._metric is not Metric.INNER_PRODUCT:
        alive = np.delete(np.arange(2100), [7, 2001])
        np.testing.assert_array_equal(found[alive], alive)
    index.close()


def test_a_write_that_needs_more_room_waits_for_what_is_coming(
    storage: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "grown", lambda needed, size: needed)
    monkeypatch.setattr(upkeep, "RECEIVE_DELAY", 3600.0)
    index = storage.open()
    with ThreadPoolExecutor(1) as other:
        putting = other.submit(index.update, np.arange(2000, 3000), VECTORS[2000:], NONE, 2)
        time.sleep(0.05)
        assert not putting.done()
        storage.gate.set()
        putting.result(30)
    assert len(index) == 3000
    if storage._metric is not Metric.INNER_PRODUCT:
        found = index.search(VECTORS, 1, effort=Effort.EXACT)[1][:, 0]
        np.testing.assert_array_equal(found, np.arange(3000))
    index.close()


def test_a_start_has_room_for_the_dead_of_the_snapshot_too(
    storage: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "grown", lambda needed, size: needed)
    # A crash came after most had been put again.
    storage.stored = dict(zip(range(1500, 3000), VECTORS[1500:], strict=True))
    opener = threading.Thread(target=lambda: opened.append(storage.open()), daemon=True)
    opened: list[SpaceIndex] = []
    opener.start()
    opener.join(10)
    assert opened
    (index,) = opened
    storage.gate.set()
    index.settle()
    assert len(index) == 1500
    if storage._metric is not Metric.INNER_PRODUCT:
        found = index.search(VECTORS[1500:], 1, effort=Effort.EXACT)[1][:, 0]
        np.testing.assert_array_equal(found, np.arange(1500, 3000))
    index.close()


def test_what_storage_has_lost_is_not_found(storage: Gated) -> None:
    index = storage.open()
    near = np.unique(index.search(QUERIES[:5], 1)[1])
    storage.lost = set(near.tolist())
    assert not np.isin(index.search(QUERIES, 5)[1], near).any()
    storage.gate.set()
    index.settle()
    assert len(index) == 2000 - len(near)
    for effort in (Effort.BALANCED, Effort.EXACT):
        rows = index.search(QUERIES, 5, effort=effort)[1]
        assert (rows >= 0).all()
        assert not np.isin(rows, near).any()
    index.close()


def test_what_was_damaged_before_the_index_was_built_does_not_cost_the_index(
    storage: Gated, builds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    storage._path.unlink()
    storage.lost = set(range(100, 164))
    storage.gate.set()
    index = storage.open()
    index.settle()
    index.close()
    assert builds == ["IVF16,SQ8"]
    index = storage.open()
    index.settle()
    assert len(index) == 2000 - 64
    found = index.search(QUERIES, 5, effort=Effort.EXACT)[1]
    assert (found >= 0).all()
    assert not np.isin(found, list(storage.lost)).any()
    index.close()
    assert builds == ["IVF16,SQ8"]
    assert "built anew" not in caplog.text


def test_an_end_does_not_wait_for_what_is_coming(storage: Gated) -> None:
    index = storage.open()
    with ThreadPoolExecutor(2) as others:
        waiting = others.submit(index.search, QUERIES, 5, effort=Effort.EXACT)
        ending = others.submit(index.close)
        while not index._upkeep._closed.is_set():
            time.sleep(0.001)
        storage.gate.set()
        ending.result(30)
        with pytest.raises(UnavailableError, match="a is closed"):
            waiting.result(30)


def test_a_caller_waits_no_longer_than_to_its_deadline(storage: Gated) -> None:
    index = storage.open()
    with within(Deadline(time.monotonic() + 0.05)), pytest.raises(DeadlineExceededError):
        index.search(QUERIES, 5, effort=Effort.EXACT)
    storage.gate.set()
    index.close()


def test_a_caller_that_went_away_waits_no_longer(storage: Gated) -> None:
    index = storage.open()
    gone = threading.Event()
    with within(Deadline(gone=gone.is_set)), ThreadPoolExecutor(1) as other:
        waiting = other.submit(copy_context().run, index.search, QUERIES, 5, effort=Effort.EXACT)
        time.sleep(0.05)
        gone.set()
        with pytest.raises(CancelledError):
            waiting.result(30)
        storage.gate.set()
    index.close()


def test_only_what_was_expected_is_read(storage: Gated) -> None:
    index = storage.open()
    storage.stored |= dict.fromkeys(range(2000, 10_000), VECTORS[0])
    storage.scanned = 0
    storage.gate.set()
    index.settle()
    # The first of five parts has them; the second was read ahead.
    assert storage.scanned == 2
    index.close()


def test_storage_that_fails_fails_those_who_need_all_vectors(
    storage: Gated, caplog: pytest.LogCaptureFixture
) -> None:
    index = storage.open()
    before = index.search(QUERIES, 5)
    storage.fails = True
    storage.gate.set()
    with caplog.at_level(logging.ERROR):
        index.settle()
    assert "not all vectors could be read from storage: in 30 seconds they are asked for again" in caplog.text
    with pytest.raises(
        UnavailableError, match="not all vectors could be read from storage: the disk is gone"
    ):
        index.search(QUERIES, 5, effort=Effort.EXACT)
    for now, then in zip(index.search(QUERIES, 5), before, strict=True):
        np.testing.assert_array_equal(now, then)
    index.close()


def test_storage_that_failed_is_asked_again(storage: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RECEIVE_PAUSE", 0.1)
    index = storage.open()
    storage.fails = True
    storage.gate.set()
    index.settle()
    with pytest.raises(UnavailableError):
        index.search(QUERIES, 5, effort=Effort.EXACT)
    storage.fails = False
    for _ in range(100):
        if index._contents.state.moment.coming is None:
            break
        time.sleep(0.05)
    assert (index.search(QUERIES, 5, effort=Effort.EXACT)[1] >= 0).all()
    assert len(index) == 2000
    index.close()


def test_writes_go_on_where_storage_failed(storage: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "grown", lambda needed, size: needed)
    index = storage.open()
    storage.fails = True
    storage.gate.set()
    index.settle()
    # So many that what failed before would be tried again, and that all have to be copied.
    many = np.random.default_rng(2).normal(size=(3000, DIMENSION)).astype(np.float32)
    index.update(np.arange(2000, 5000), many, NONE, 2)
    assert len(index) == 5000
    if storage._metric is not Metric.INNER_PRODUCT:
        assert index.search(many[7][None], 1)[1][0, 0] == 2007
    with ThreadPoolExecutor(1) as other:
        other.submit(index.close).result(30)


def covered(index: SpaceIndex) -> int:
    """How many places the approximate index has."""
    approximate = index._contents.state.approximate
    assert approximate is not None
    return len(approximate)


def test_a_thread_that_could_not_be_started_is_started_by_the_next_to_wake(
    storage: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = storage.open()
    storage.gate.set()
    index.settle()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    many = np.random.default_rng(2).normal(size=(1500, DIMENSION)).astype(np.float32)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            index.update(np.arange(2000, 3500), many, NONE, 2)
    index.update(np.arange(3500, 3501), many[:1], NONE, 3)
    index.settle()
    assert covered(index) == 3501
    index.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_by_an_error_is_not_waited_for(
    storage: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = storage.open()
    storage.gate.set()
    index.settle()
    tasks = iter([lambda: None])

    def due() -> Callable[[], None] | None:
        if threading.current_thread().name.startswith("upkeep"):
            raise RuntimeError("out of memory")
        return next(tasks, None)

    with monkeypatch.context() as patched:
        patched.setattr(index._upkeep, "_due", due)
        index._upkeep.wake()
        with ThreadPoolExecutor(1) as other:
            other.submit(index.settle).result(30)
    many = np.random.default_rng(2).normal(size=(1500, DIMENSION)).astype(np.float32)
    index.update(np.arange(2000, 3500), many, NONE, 2)
    index.settle()
    assert covered(index) == 3500
    index.close()
