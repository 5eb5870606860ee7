"""What is added is found, what is removed is not, at once and under load."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embeddb.deadline import Deadline, within
from embeddb.errors import DeadlineExceededError, UnavailableError
from embeddb.index import SpaceIndex
from tests.index.reference import assert_best, scores

DIMENSION = 4
NONE = np.empty(0, np.int64)


class Updates(RuleBasedStateMachine):
    """Any sequence of updates leaves what a dictionary of vectors would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.index = SpaceIndex(DIMENSION)
        self.rng = np.random.default_rng(0)
        self.vectors: list[np.ndarray] = []
        self.removed: set[int] = set()

    @rule(added=st.integers(0, 40), data=st.data())
    def update(self, added: int, data: st.DataObject) -> None:
        first = len(self.vectors)
        vectors = self.rng.normal(size=(added, DIMENSION)).astype(np.float32)
        self.vectors.extend(vectors)
        # Rows that are unknown, or gone already, are passed over, and so are repetitions.
        removed = data.draw(st.lists(st.integers(0, first + added + 5), max_size=30))
        self.index.update(np.arange(first, first + added), vectors, np.array(removed, np.int64))
        self.removed.update(row for row in removed if row < len(self.vectors))

    @invariant()
    def it_finds_the_living(self) -> None:
        assert len(self.index) == len(self.vectors) - len(self.removed)
        if not self.vectors:
            return
        query = self.rng.normal(size=(1, DIMENSION)).astype(np.float32)
        expected = scores(self.index.metric, query, self.vectors)[0]
        expected[list(self.removed)] = -np.inf
        found, rows = self.index.search(query, 12)
        assert_best(expected, rows[0], found[0], 1e-6)

    def teardown(self) -> None:
        self.index.close()


TestUpdates = pytest.mark.timeout(120)(Updates.TestCase)
TestUpdates.settings = settings(max_examples=15, stateful_step_count=20)


def test_searches_while_the_index_changes_see_whole_updates() -> None:
    # Each update replaces the ten rows of the one before it, so every search finds ten: of one update.
    index = SpaceIndex(DIMENSION)
    ones = np.ones((10, DIMENSION), np.float32)
    index.update(np.arange(10), ones, NONE)
    wrong: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            rows = index.search(ones[:1], 20)[1][0]
            living = rows[rows >= 0]
            if len(living) != 10 or len(set(living // 10)) != 1:
                wrong.append(rows)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(1, 300):
        index.update(np.arange(10 * step, 10 * step + 10), ones, np.arange(10 * step - 10, 10 * step))
        assert set(index.search(ones[:1], 20)[1][0]) == {*range(10 * step, 10 * step + 10), -1}
    done.set()
    for thread in threads:
        thread.join()
    index.close()
    assert wrong == []


def test_a_search_that_nobody_waits_for_is_not_done() -> None:
    index = SpaceIndex(DIMENSION)
    index.update(np.arange(10), np.ones((10, DIMENSION), np.float32), NONE)
    with within(Deadline(at=0)), pytest.raises(DeadlineExceededError):
        index.search(np.ones((1, DIMENSION), np.float32), 1)
    index.close()
    with pytest.raises(UnavailableError):
        index.search(np.ones((1, DIMENSION), np.float32), 1)


def test_concurrent_searches_each_get_their_own_answers() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(400, DIMENSION)).astype(np.float32)
    index = SpaceIndex(DIMENSION)
    index.update(np.arange(400), vectors, NONE)
    wrong: list[object] = []

    def search(first: int) -> None:
        for row in range(first, 400, 8):
            k = 1 + row % 5
            queries = vectors[[row, (row + 1) % 400][: 1 + row % 2]]
            found, rows = index.search(queries, k)
            if rows.shape != (len(queries), k) or rows[0, 0] != row:
                wrong.append((row, rows, found))

    threads = [threading.Thread(target=search, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index.close()
    assert wrong == []
