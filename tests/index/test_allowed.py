"""A search among some rows alone: few or many, here or not, and together with other searches."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.index import SpaceIndex
from tests.index.reference import assert_best, scores

N = 3000
rng = np.random.default_rng(4)
VECTORS = rng.normal(size=(N, 6)).astype(np.float32)
QUERIES = rng.normal(size=(3, 6)).astype(np.float32)
REMOVED = np.arange(0, N, 7)


@pytest.fixture(scope="module")
def index() -> Iterator[SpaceIndex]:
    """Rows 0, 2, 4, ... of which every seventh is gone again."""
    index = SpaceIndex(6)
    index.update(2 * np.arange(N), VECTORS, np.empty(0, np.int64))
    index.update(np.empty(0, np.int64), np.empty((0, 6), np.float32), 2 * REMOVED)
    yield index
    index.close()


def check(index: SpaceIndex, allowed: np.ndarray, k: int) -> None:
    found, rows = index.search(QUERIES, k, allowed)
    expected = scores(index.metric, QUERIES, VECTORS)
    barred = np.ones(N, np.bool_)
    barred[[row // 2 for row in allowed.tolist() if row % 2 == 0 and 0 <= row < 2 * N]] = False
    expected[:, barred] = -np.inf
    expected[:, REMOVED] = -np.inf
    for each, each_rows, each_found in zip(expected, rows, found, strict=True):
        assert_best(each, np.where(each_rows >= 0, each_rows // 2, -1), each_found, 1e-6)


@given(st.floats(0, 1), st.integers(0, 2**32 - 1), st.sampled_from([1, 10, 500]))
def test_any_share_of_the_rows(index: SpaceIndex, share: float, seed: int, k: int) -> None:
    # Odd rows, and rows beyond the last, are not here.
    chosen = np.random.default_rng(seed).random(2 * N + 10) < share**3
    check(index, np.flatnonzero(chosen), k)


def test_no_row_at_all(index: SpaceIndex) -> None:
    check(index, np.empty(0, np.int64), 5)


def test_rows_that_are_far_apart() -> None:
    index = SpaceIndex(6)
    rows = np.array([3, 10**12, 10**12 + 5])
    index.update(rows, VECTORS[:3], np.empty(0, np.int64))
    assert set(index.search(QUERIES, 3, rows[1:])[1][0]) == {10**12, 10**12 + 5, -1}
    index.close()


def test_searches_with_different_rows_do_not_mix(index: SpaceIndex) -> None:
    wrong: list[object] = []

    def search(number: int) -> None:
        allowed = None if number == 0 else 2 * np.arange(number, N, 8)
        for _ in range(50):
            rows = index.search(QUERIES, 20, allowed)[1]
            if (rows < 0).any() or (allowed is not None and not np.isin(rows, allowed).all()):
                wrong.append(rows)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
