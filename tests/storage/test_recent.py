"""Records kept in memory: those of one moment, never of a dead row, no more than there is room for."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embeddb.storage import CollectionStore, Committed, DataFolder, Delete, Record
from embeddb.storage import recent as recent_module
from embeddb.storage.recent import RecentRecords, RecordsMemory
from tests.storage.items import put


def record(row: int, metadata: str = "{}") -> Record:
    return Record(row, str(row), metadata, None, b"", b"")


def commit(sequence: int, *removed: int) -> Committed:
    return Committed(sequence, {}, np.array(removed, np.int64))


def test_records_are_found_at_their_moment_alone() -> None:
    kept = [record(3), record(5)]
    recent = RecentRecords(7, RecordsMemory())
    recent.keep(7, kept)
    assert recent.find(7, [5, 4, 3]) == [kept[1], None, kept[0]]
    assert recent.find(6, [3, 5]) == recent.find(8, [3, 5]) == [None, None]
    recent.follow(commit(8, 5, 9))
    assert recent.find(8, [3, 5]) == [kept[0], None]
    assert recent.find(7, [3, 5]) == [None, None]


def test_what_was_read_before_a_commit_is_not_kept_after_it() -> None:
    recent = RecentRecords(1, RecordsMemory())
    recent.follow(commit(2, 0))
    recent.keep(1, [record(0)])
    assert recent.find(2, [0]) == [None]


def test_after_a_commit_that_it_was_not_told_of_it_has_nothing() -> None:
    recent = RecentRecords(1, RecordsMemory())
    recent.keep(1, [record(0), record(1)])
    recent.follow(commit(3, 1))
    assert recent.find(3, [0, 1]) == [None, None]


def test_the_oldest_go_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "MAX_BYTES", 100_000)
    recent = RecentRecords(0, RecordsMemory())
    for row in range(1000):
        recent.keep(0, [record(row, "x" * 600)])
    found = recent.find(0, range(1000))
    kept = [row for row, each in enumerate(found) if each is not None]
    assert kept == list(range(kept[0], 1000))
    assert 40 <= len(kept) <= 100
    recent.keep(0, [record(1000, "x" * 200_000)])
    assert set(recent.find(0, range(1001))) == {None}
    # What went is not counted any more.
    again = [record(row) for row in range(200)]
    recent.keep(0, again)
    assert recent.find(0, range(200)) == again


def test_collections_share_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "MAX_BYTES", 100_000)
    memory = RecordsMemory()
    large, small = RecentRecords(0, memory), RecentRecords(0, memory)
    large.keep(0, [record(row, "x" * 600) for row in range(80)])
    few = [record(row, "x" * 600) for row in range(30)]
    small.keep(0, few)
    # Whose records take most gives way.
    assert small.find(0, range(30)) == few
    assert [each is not None for each in large.find(0, range(80))] == [False] * 40 + [True] * 40
    assert large.bytes + small.bytes < 100_000
    # What a closed collection had is free for others.
    large.close()
    small.keep(0, [record(row, "x" * 600) for row in range(30, 90)])
    assert None not in small.find(0, range(90))


def test_a_folder_has_one_memory_for_all_its_collections(tmp_path: Path) -> None:
    with closing(DataFolder(tmp_path)) as folder:
        first, second = (folder.create_collection(name, {}) for name in ("first", "second"))
        assert first._recent._memory is second._recent._memory


def test_a_store_gives_what_is_stored_whether_it_was_kept_or_not(store: CollectionStore) -> None:
    store.write([put("a", 1), put("b", 2)])
    (first, _) = store.by_rows([0, 1], keep=True)
    assert store.by_rows([0], keep=True) == [first]
    store.write([put("a", 3), Delete("b")])
    assert [each and each.metadata_json for each in store.by_rows([0, 1, 2], keep=True)] == [
        None,
        None,
        '{"seed":3}',
    ]


def test_a_commit_that_is_not_yet_told_of_is_seen_whole(
    store: CollectionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([put("a"), put("b")])
    store.by_rows([0], keep=True)
    follow, seen = store._recent.follow, []

    def late(committed: Committed) -> None:
        # The data is as after the commit, and what is kept is as before it.
        seen.append([each is None for each in store.by_rows([0, 1, 2, 3], keep=True)])
        follow(committed)

    monkeypatch.setattr(store._recent, "follow", late)
    store.write([put("a", 1), put("b", 1)])
    assert seen == [[True, True, False, False]]
    assert [each is None for each in store.by_rows([0, 1, 2, 3], keep=True)] == seen[0]
