"""Searches go first, and nobody waits for them for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import embeddb
from embeddb import precedence
from embeddb.collection import BATCH_ITEMS
from embeddb.errors import EmbeddbError
from embeddb.options import Effort
from embeddb.precedence import EVERY, Precedence, searches
from embeddb.query import CollectionSettings, PutItem, Search, Vector
from embeddb.storage.group_commit import GroupCommit

SECONDS = 20
DIMENSION = 8


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precedence outlasts the test."""
    monkeypatch.setattr(precedence, "MOST_SECONDS", 10 * SECONDS)


def waits(thread: threading.Thread) -> bool:
    thread.join(0.05)
    return thread.is_alive()


def begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_who_gives_way_waits_until_the_last_has_left(long: None) -> None:
    first = Precedence()
    with first:
        with first:
            behind = begun(first.give_way)
            assert waits(behind)
        assert waits(behind)
    behind.join(SECONDS)
    assert not behind.is_alive()


def test_nobody_waits_where_nobody_is_inside(long: None) -> None:
    first = Precedence()
    first.give_way()
    with pytest.raises(ZeroDivisionError), first:
        raise ZeroDivisionError
    first.give_way()


def test_nobody_waits_for_those_who_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "MOST_SECONDS", 0.05)
    first = Precedence()
    with first:
        start = time.monotonic()
        first.give_way()
        assert time.monotonic() - start >= 0.04
        # It is over for those inside, however long they stay.
        monkeypatch.setattr(precedence, "MOST_SECONDS", 10 * SECONDS)
        first.give_way()


def test_after_precedence_there_is_none_for_as_long(long: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(precedence, "time", SimpleNamespace(perf_counter=lambda: now))
    first = Precedence()
    with first:
        now += 0.5
    now += 0.4
    with first:
        # Would wait for ever, as who is inside is this thread.
        first.give_way()
    now += 0.2
    with first:
        behind = begun(first.give_way)
        assert waits(behind)
    behind.join(SECONDS)
    assert not behind.is_alive()


def test_who_came_lately_is_expected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.5
    monkeypatch.setattr(precedence, "time", SimpleNamespace(perf_counter=lambda: now))
    first = Precedence()
    assert not first.came_lately
    with first:
        now += 100
        assert first.came_lately
    assert not first.came_lately
    with first:
        pass
    now += 0.9
    assert first.came_lately
    now += 0.2
    assert not first.came_lately


def test_beside_searches_one_batch_is_written_before_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = GroupCommit._commit_group

    def late(*arguments: Any) -> None:
        time.sleep(0.2)
        commit(*arguments)

    monkeypatch.setattr(GroupCommit, "_commit_group", late)
    vectors = np.random.default_rng(0).normal(size=(2 * BATCH_ITEMS, DIMENSION)).astype(np.float32)
    there: list[int] = []

    def stream(name: str) -> Iterator[PutItem]:
        for number, vector in enumerate(vectors):
            if number == BATCH_ITEMS:
                there.append(collection.info().items)
            yield PutItem(f"{name}-{number}", None, {}, {"given": vector})

    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.create_collection("c", ["given"])
        monkeypatch.setattr(precedence, "LATELY_SECONDS", 10 * SECONDS)
        collection.search(vectors[0])
        collection.put_many(stream("beside"))
        monkeypatch.setattr(precedence, "LATELY_SECONDS", 0)
        collection.put_many(stream("alone"))
        assert there == [BATCH_ITEMS, 2 * BATCH_ITEMS]
        assert collection.info().items == 4 * BATCH_ITEMS


def test_many_items_give_way_and_a_few_do_not(long: None) -> None:
    first = Precedence()
    with first:
        assert list(first.behind(range(EVERY - 1))) == list(range(EVERY - 1))
        done: list[int] = []
        behind = begun(lambda: done.extend(first.behind(range(3 * EVERY))))
        assert waits(behind)
        assert done == list(range(EVERY))
    behind.join(SECONDS)
    assert done == list(range(3 * EVERY))


def test_puts_and_deletes_end_while_a_search_does_not(tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.create_collection("c", ["given"])
        vectors = np.random.default_rng(0).normal(size=(3000, DIMENSION)).astype(np.float32)
        items = [PutItem(str(n), None, {}, {"given": vector}) for n, vector in enumerate(vectors)]
        with searches:
            assert len(collection.put_many(items)) == 3000
            assert collection.delete_many([item.id for item in items[:2000]]) == [None] * 2000
            assert [hit.id for hit in collection.search(vectors[2500], k=1)] == ["2500"]
    # Closed, too.


def test_puts_beside_searches_without_pause_are_searchable(tmp_path: Path) -> None:
    """Puts, deletes, an index that is built and added to, and searches: all end, and all are right."""
    vectors = np.random.default_rng(0).normal(size=(6000, DIMENSION)).astype(np.float32)
    items = [PutItem(str(n), None, {}, {"given": vector}) for n, vector in enumerate(vectors)]
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.create_collection("c", ["given"], CollectionSettings(index="IVF8,SQ8"))
        collection.put_many(items[:1000])
        collection.settle()
        over = threading.Event()

        def search(start: int) -> int:
            for number in count(start):
                collection.search(vectors[number % len(vectors)])
                if over.is_set():
                    return number - start
            raise AssertionError

        with ThreadPoolExecutor(4) as threads:
            searching = [threads.submit(search, start) for start in (0, 3000)]
            putting = [threads.submit(collection.put_many, items[start::2][500:]) for start in (0, 1)]
            try:
                for each in putting:
                    assert len(each.result(3 * SECONDS)) == 2500
                assert collection.delete_many([item.id for item in items[:500]]) == [None] * 500
            finally:
                over.set()
            assert all(each.result(SECONDS) > 0 for each in searching)
        asked = [Vector(vector) for vector in vectors[500::50]]
        found = collection.search_many(Search(asked, k=1, effort=Effort.EXACT))
        hits = [each for each in found if not isinstance(each, EmbeddbError)]
        assert [each.id for (each,) in hits] == [str(n) for n in range(500, 6000, 50)]


def test_a_few_puts_do_not_wait_for_a_search(long: None, tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.create_collection("c", ["given"])
        vectors = np.random.default_rng(0).normal(size=(EVERY - 1, DIMENSION)).astype(np.float32)
        items = [PutItem(str(n), None, {}, {"given": vector}) for n, vector in enumerate(vectors)]
        with searches, ThreadPoolExecutor(1) as threads:
            assert len(threads.submit(collection.put_many, items).result(SECONDS)) == EVERY - 1
