"""Lone searches of several threads are answered together, each as if it had been alone."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import embeddb
from embeddb.answers.lone import MOST_HITS, is_lone
from embeddb.coalescing import AT_ONCE, MOST, Coalescing
from embeddb.collection import Collection
from embeddb.database import Database
from embeddb.errors import InvalidArgumentError, NotFoundError, UnavailableError
from embeddb.options import Effort
from embeddb.query import CollectionSettings, Hit, Item, PutItem, Search, Vector, View

SECONDS = 120
SEARCHERS = 4
DIMENSION = 32
VECTORS = np.random.default_rng(2).normal(size=(3000, DIMENSION)).astype(np.float32)
QUERIES = np.random.default_rng(3).normal(size=(64, DIMENSION)).astype(np.float32)


class Slow:
    """Answers with ten times the question, once it may; a negative one it cannot answer."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.may = threading.Semaphore(0)

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.batches.append(list(questions))
        self.begun.release()
        assert self.may.acquire(timeout=SECONDS)
        if min(questions) < 0:
            raise ValueError(questions)
        return [10 * question for question in questions]

    def go_on(self, batches: int) -> None:
        """End as many, each when the one after it has begun, and then all."""
        for _ in range(batches):
            self.may.release()
            self.wait_for(1)
        self.may.release(100)

    def wait_for(self, batches: int) -> None:
        for _ in range(batches):
            assert self.begun.acquire(timeout=SECONDS)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait do so for as long as a test takes."""
    monkeypatch.setattr("embeddb.coalescing.PATIENCE", SECONDS)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * MOST + AT_ONCE) as threads:
        yield threads


def until_waiting(coalescing: Coalescing[int, int], count: int) -> None:
    end = time.monotonic() + SECONDS
    while len(coalescing._waiting) < count:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.usefixtures("patient")
def test_who_waits_is_answered_with_the_next_of_its_kind(pool: ThreadPoolExecutor) -> None:
    answer = Slow()
    coalescing = Coalescing(answer)
    first = [pool.submit(coalescing.ask, number, "any") for number in range(AT_ONCE)]
    answer.wait_for(AT_ONCE)
    later = []
    for number in range(2, 8):
        later.append(pool.submit(coalescing.ask, number, number % 2))
        until_waiting(coalescing, number - 1)
    answer.go_on(AT_ONCE)
    assert [each.result(SECONDS) for each in first + later] == [10 * number for number in range(8)]
    assert sorted(answer.batches[AT_ONCE:]) == [[2, 4, 6], [3, 5, 7]]


@pytest.mark.usefixtures("patient")
def test_no_more_than_so_many_are_answered_together(pool: ThreadPoolExecutor) -> None:
    answer = Slow()
    coalescing = Coalescing(answer)
    asked = [pool.submit(coalescing.ask, number, 0) for number in range(AT_ONCE)]
    answer.wait_for(AT_ONCE)
    asked += [pool.submit(coalescing.ask, 5, 0) for _ in range(2 * MOST)]
    until_waiting(coalescing, 2 * MOST)
    answer.go_on(AT_ONCE)
    assert [each.result(SECONDS) for each in asked[AT_ONCE:]] == [50] * 2 * MOST
    assert [len(batch) for batch in answer.batches[AT_ONCE:]] == [MOST, MOST]


@pytest.mark.usefixtures("patient")
def test_one_that_fails_fails_alone(pool: ThreadPoolExecutor) -> None:
    answer = Slow()
    coalescing = Coalescing(answer)
    first = [pool.submit(coalescing.ask, number, 0) for number in range(AT_ONCE)]
    answer.wait_for(AT_ONCE)
    later = [pool.submit(coalescing.ask, number, 0) for number in (3, -4, 5)]
    until_waiting(coalescing, 3)
    answer.may.release(100)
    assert [each.result(SECONDS) for each in [*first, later[0], later[2]]] == [0, 10, 30, 50]
    with pytest.raises(ValueError, match="-4"):
        later[1].result(SECONDS)
    assert coalescing.ask(6, 0) == 60


def test_nobody_waits_for_long(pool: ThreadPoolExecutor) -> None:
    answer = Slow()
    coalescing = Coalescing(answer)
    stuck = [pool.submit(coalescing.ask, number, 0) for number in range(AT_ONCE)]
    answer.wait_for(AT_ONCE)
    late = pool.submit(coalescing.ask, 7, 0)
    answer.wait_for(1)
    assert answer.batches[-1] == [7]
    answer.may.release(100)
    assert [each.result(SECONDS) for each in (*stuck, late)] == [0, 10, 70]


@pytest.mark.usefixtures("patient")
def test_one_who_waits_can_be_interrupted(pool: ThreadPoolExecutor) -> None:
    answer = Slow()
    coalescing = Coalescing(answer)
    stuck = [pool.submit(coalescing.ask, number, 0) for number in range(AT_ONCE)]
    answer.wait_for(AT_ONCE)
    me = threading.get_ident()

    def interrupt() -> None:
        until_waiting(coalescing, 1)
        signal.pthread_kill(me, signal.SIGINT)

    interrupting = pool.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        coalescing.ask(7, 0)
    interrupting.result(SECONDS)
    answer.may.release(100)
    assert [each.result(SECONDS) for each in stuck] == [0, 10]
    assert [7] not in answer.batches
    # All places are free again.
    assert [coalescing.ask(number, 0) for number in range(2 * AT_ONCE)] == [0, 10, 20, 30]
    assert coalescing._working == 0


@pytest.mark.usefixtures("patient")
def test_one_at_work_can_be_interrupted(pool: ThreadPoolExecutor) -> None:
    """Those that it was to answer are answered by themselves."""
    answer = Slow()
    coalescing = Coalescing(answer)
    first = [pool.submit(coalescing.ask, number, 0) for number in range(AT_ONCE)]
    answer.wait_for(AT_ONCE)
    me = threading.get_ident()

    def interrupt() -> list[int]:
        until_waiting(coalescing, 1)
        others = [pool.submit(coalescing.ask, number, 0) for number in (8, 9)]
        until_waiting(coalescing, 3)
        answer.may.release()
        answer.wait_for(1)
        signal.pthread_kill(me, signal.SIGINT)
        # The others are seen to by themselves.
        answer.wait_for(2)
        answer.may.release(100)
        return [each.result(SECONDS) for each in others]

    interrupting = pool.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        coalescing.ask(7, 0)
    assert interrupting.result(SECONDS) == [80, 90]
    assert sorted(answer.batches[AT_ONCE]) == [7, 8, 9]
    assert [each.result(SECONDS) for each in first] == [0, 10]
    assert coalescing._working == 0


def vector(item_id: str) -> np.ndarray:
    """Of an item of the collection below: "0" and so on from the start, "n0" and so on put later."""
    number = int(item_id.removeprefix("n")) % len(VECTORS)
    return VECTORS[number] + float(item_id.startswith("n"))


def cosine(query: np.ndarray, item_id: str) -> float:
    item = vector(item_id)
    return float(query @ item / np.linalg.norm(query) / np.linalg.norm(item))


# -- In a collection -----------------------------------------------------------------------------------


@pytest.fixture
def indexed(tmp_path: Path) -> Iterator[tuple[Database, Collection]]:
    """3,000 items in lists, all of which are probed: answers are exact."""
    with embeddb.open(tmp_path / "data") as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        settings = CollectionSettings(index="IVF16,Flat", recall=0.99)
        collection = database.create_collection("c", ["given"], settings)
        collection.put_many([PutItem(str(n), features={"given": vector}) for n, vector in enumerate(VECTORS)])
        collection.settle()
        yield database, collection


def test_searches_of_many_threads_find_what_they_find_alone(indexed: tuple[Database, Collection]) -> None:
    _, collection = indexed
    ks = [3, 10]
    alone = {(n, k): collection.search(QUERIES[n], k) for n in range(len(QUERIES)) for k in ks}

    def search(seed: int) -> None:
        for n in np.random.default_rng(seed).permutation(len(QUERIES)).tolist():
            k = ks[(n + seed) % 2]
            hits = collection.search(QUERIES[n], k)
            assert [hit.id for hit in hits] == [hit.id for hit in alone[n, k]]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone[n, k]], abs=1e-6)

    assert collection.is_prompt(None)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(search, range(16)))


def test_a_wrong_search_among_others_fails_alone(indexed: tuple[Database, Collection]) -> None:
    _, collection = indexed

    def search(n: int) -> None:
        if n % 5 == 0:
            with pytest.raises(InvalidArgumentError, match="the space has 32"):
                collection.search([1.0, 2.0])
        elif n % 5 == 1:
            with pytest.raises(NotFoundError):
                collection.search(QUERIES[n % 64], model="none")
        else:
            assert len(collection.search(QUERIES[n % 64])) == 10

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(search, range(200)))


def test_searches_go_on_beside_everything_else(indexed: tuple[Database, Collection]) -> None:
    """Puts, deletes, a rebuild, exact and filtered searches, and in the end a close under way."""
    database, collection = indexed
    over, errors = threading.Event(), []

    def check(query: np.ndarray, hits: list[Hit]) -> None:
        # What is deleted meanwhile is not among them, but they are those of this query.
        assert [hit.score for hit in hits] == pytest.approx([cosine(query, hit.id) for hit in hits], abs=1e-5)

    def search(n: int) -> None:
        while not over.is_set():
            try:
                check(QUERIES[n % 64], collection.search(QUERIES[n % 64]))
            except Exception as error:
                errors.append(error)
                return
            n += 1
            # On a busy machine they would leave the others no core.
            time.sleep(0.002)

    def exactly() -> None:
        for query in QUERIES[:10]:
            check(query, collection.search(query, effort=Effort.EXACT))
            check(query, collection.search(query, filter="id != '1'"))

    def write() -> None:
        for start in range(0, 2000, 500):
            items = [PutItem(f"n{n}", features={"given": vector(f"n{n}")}) for n in range(start, start + 500)]
            collection.put_many(items)
            assert collection.search(vector(f"n{start + 7}"), 1)[0].id == f"n{start + 7}"
            collection.delete_many([f"n{n}" for n in range(start, start + 400)])
        collection.settle()

    with ThreadPoolExecutor(12) as pool:
        try:
            searching = [pool.submit(search, n) for n in range(SEARCHERS)]
            for each in [pool.submit(exactly), pool.submit(write)]:
                each.result(SECONDS)
            assert not errors
            database.close()
            for each in searching:
                each.result(SECONDS)
        finally:
            over.set()
    # Whoever was late met a closed database, and nothing worse.
    assert all(isinstance(error, UnavailableError) for error in errors), errors
    assert len(errors) == SEARCHERS


def test_what_a_lone_search_is() -> None:
    one = Vector([1.0, 2.0])
    assert is_lone(Search([one], MOST_HITS, "given", include_operands=True, effort=Effort.SPEED))
    assert not is_lone(Search([one, one]))
    assert not is_lone(Search([Item("a")]))
    assert not is_lone(Search([one - Vector([2.0, 1.0])]))
    for other in (
        {"k": MOST_HITS + 1},
        {"effort": Effort.EXACT},
        {"filter": "x < 1"},
        {"view": View(payload=True)},
        {"offset": 1},
        {"min_score": 0.5},
        {"explain": True},
    ):
        assert not is_lone(Search([one], **other)), other
