"""Writes that arrive together share a commit; each gets its own results or its own error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embeddb.errors import FailedPreconditionError, InternalError
from embeddb.storage import CollectionStore, Committed, Delete, Put, Written
from embeddb.storage import group_commit as group_commit_module
from embeddb.storage.group_commit import GroupCommit, Operation
from tests.storage.items import put, vector

NOTHING = np.empty(0, np.int64)


class Recorder:
    """Stands for the transaction: notes each commit, and holds the first one until it is let go."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def commit(self, operations: Sequence[Operation]) -> tuple[Written, Committed]:
        self.entered.set()
        assert self.go_on.wait(10)
        ids = [operation.id for operation in operations]
        if "bad" in ids:
            raise FailedPreconditionError("bad is refused")
        self.commits.append(ids)
        written = Written([None] * len(ids), [int(item_id) for item_id in ids])
        return written, Committed(len(self.commits), {}, NOTHING)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def queue(recorder: Recorder) -> Iterator[GroupCommit]:
    queue = GroupCommit("test", recorder.commit, lambda committed: None, None)
    yield queue
    recorder.go_on.set()
    queue.close()


def queued(
    queue: GroupCommit, recorder: Recorder, pool: ThreadPoolExecutor, writes: list[list[Operation]]
) -> list[Future[Written]]:
    """Send the first write, wait until it is being committed, and then queue the others in order."""
    futures = [pool.submit(queue.write, writes[0])]
    assert recorder.entered.wait(10)
    for count, write in enumerate(writes[1:], 1):
        futures.append(pool.submit(queue.write, write))
        wait_for(lambda count=count: len(queue._queue) == count)
    recorder.go_on.set()
    return futures


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        threading.Event().wait(0.01)
    raise AssertionError("waited for 10 seconds")


def test_what_arrives_during_a_commit_goes_into_the_next_one_together(
    queue: GroupCommit, recorder: Recorder
) -> None:
    writes: list[list[Operation]] = [[Delete("0")], [Delete("1"), Delete("2")], [], [Delete("3")]]
    with ThreadPoolExecutor(4) as pool:
        futures = queued(queue, recorder, pool, writes)
        results = [future.result(10).replaced for future in futures]
    assert recorder.commits == [["0"], ["1", "2", "3"]]
    assert results == [[0], [1, 2], [], [3]]


def test_the_fault_of_one_write_does_not_fail_its_neighbours(queue: GroupCommit, recorder: Recorder) -> None:
    with ThreadPoolExecutor(4) as pool:
        futures = queued(
            queue, recorder, pool, [[Delete("0")], [Delete("1")], [Delete("2"), Delete("bad")], [Delete("3")]]
        )
        with pytest.raises(FailedPreconditionError, match="bad is refused"):
            futures.pop(2).result(10)
        assert [future.result(10).replaced for future in futures] == [[0], [1], [3]]
    assert recorder.commits == [["0"], ["1"], ["3"]]


def test_a_group_has_a_largest_size(
    queue: GroupCommit, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit_module, "MAX_GROUP_BYTES", 100)
    writes: list[list[Operation]] = [[Delete("0")]]
    writes += [[Put(str(n), "{}", None, bytes(60), b"", {})] for n in range(1, 4)]
    with ThreadPoolExecutor(4) as pool:
        for future in queued(queue, recorder, pool, writes):
            future.result(10)
    assert recorder.commits == [["0"], ["1"], ["2"], ["3"]]


def test_closing_commits_what_is_queued(queue: GroupCommit, recorder: Recorder) -> None:
    with ThreadPoolExecutor(3) as pool:
        futures = queued(queue, recorder, pool, [[Delete("0")], [Delete("1")], [Delete("2")]])
        queue.close()
        assert [future.result(10).replaced for future in futures] == [[0], [1], [2]]


def test_many_writers_at_once_lose_nothing(store: CollectionStore) -> None:
    told: list[Committed] = []
    store.listen(told.append)

    def write(writer: int) -> None:
        for n in range(50):
            store.write([put(f"{writer}-{n}", n), put(f"shared-{n}", writer)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert store.count() == 8 * 50 + 50
    assert [committed.sequence for committed in told] == list(range(1, len(told) + 1))
    assert len(told) < 8 * 50, "no two writes ever shared a commit"
    living: set[int] = set()
    for committed in told:
        living |= set(committed.added["m"][0].tolist())
        living -= set(committed.removed.tolist())
    assert living == {row for rows, _ in store.scan("m") for row in rows.tolist()}


def test_a_listener_that_fails_is_told_to_the_writer_and_the_write_stays(
    store: CollectionStore, caplog: pytest.LogCaptureFixture
) -> None:
    def listener(committed: Committed) -> None:
        if committed.sequence == 1:
            raise ZeroDivisionError("the index broke")

    store.listen(listener)
    with pytest.raises(InternalError, match=r"the write is stored, .* the index broke"):
        store.write([put("a", 1)])
    assert "commit 1 is stored" in caplog.text
    assert store.write([put("b", 2)]).rows == [1]
    assert store.rows(["a", "b"]) == [0, 1]


def test_the_listener_has_heard_of_a_write_before_it_returns(store: CollectionStore) -> None:
    seen: list[int] = []
    store.listen(lambda committed: seen.extend(committed.added["m"][0].tolist()))
    for n in range(20):
        written = store.write([put("a", n)])
        assert seen[-1:] == written.rows
        assert np.array_equal(store.features("m", [seen[-1]])[seen[-1]], vector(n))


def test_async_flushes_within_a_second_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit_module, "FLUSH_SECONDS", 0.05)
    recorder, flushed = Recorder(), threading.Event()
    recorder.go_on.set()
    queue = GroupCommit("test", recorder.commit, lambda committed: None, flushed.set)
    assert not flushed.wait(0.2), "flushed though nothing was written"
    for _ in range(2):
        queue.write([Delete("1")])
        assert flushed.wait(10)
        flushed.clear()
    queue.close()


def test_a_flush_that_fails_is_logged_and_the_next_one_tried(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit_module, "FLUSH_SECONDS", 0.0)
    recorder = Recorder()
    recorder.go_on.set()
    outcomes = iter([OSError("no disk"), None])
    flushed = threading.Event()

    def flush() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        flushed.set()

    queue = GroupCommit("test", recorder.commit, lambda committed: None, flush)
    queue.write([Delete("1")])
    wait_for(lambda: "flushing failed" in caplog.text)
    queue.write([Delete("2")])
    assert flushed.wait(10)
    queue.close()
