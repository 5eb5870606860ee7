"""Exact search: what it finds is what the definitions give, for every metric and on unkind data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embeddb.errors import InvalidArgumentError
from embeddb.index import SpaceIndex
from embeddb.index.shortlist import BLOCK_PLACES
from embeddb.query import Metric
from tests.index.reference import assert_best, scores

Floats = npt.NDArray[np.float32]
NONE = np.empty(0, np.int64)


@pytest.fixture(params=list(Metric))
def metric(request: pytest.FixtureRequest) -> Metric:
    return request.param


def filled(vectors: Floats, metric: Metric = Metric.COSINE, batch: int = 10_000) -> SpaceIndex:
    index = SpaceIndex(vectors.shape[1], metric)
    for start in range(0, len(vectors), batch):
        part = vectors[start : start + batch]
        index.update(np.arange(start, start + len(part)), part, NONE)
    return index


def check(index: SpaceIndex, vectors: Floats, queries: Floats, k: int, tolerance: float = 2e-6) -> None:
    found, rows = index.search(queries, k)
    assert (found.shape, found.dtype) == ((len(queries), k), np.float32)
    assert (rows.shape, rows.dtype) == ((len(queries), k), np.int64)
    for expected, each_rows, each_found in zip(
        scores(index.metric, queries, vectors), rows, found, strict=True
    ):
        assert_best(expected, each_rows, each_found, tolerance * max(1.0, np.abs(expected).max()))


def test_it_finds_the_best_of_many_blocks(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(BLOCK_PLACES + 1000, 16)).astype(np.float32)
    index = filled(vectors, metric)
    for k in (1, 10, 300):
        check(index, vectors, rng.normal(size=(7, 16)).astype(np.float32), k)
    index.close()


def test_near_duplicates_are_told_apart(metric: Metric) -> None:
    # All of them have the same bfloat16 code, so that no shortlist of codes can tell which are the nearest.
    rng = np.random.default_rng(1)
    one = rng.normal(size=32)
    alike = one + 1e-4 * rng.normal(size=(3000, 32)) * (1 + np.arange(3000)[:, None] / 3000)
    vectors = np.concatenate([alike, rng.normal(size=(3000, 32))]).astype(np.float32)
    index = filled(vectors, metric)
    check(index, vectors, np.stack([one, -one]).astype(np.float32), 10, tolerance=3e-7)
    index.close()


def test_l2_tells_apart_what_lies_far_from_the_origin() -> None:
    # What the scan adds up is a million times what the distances differ by.
    rng = np.random.default_rng(6)
    vectors = (1000 + rng.normal(size=(3000, 16))).astype(np.float32)
    index = filled(vectors, Metric.L2)
    found, rows = index.search(vectors[:20], 5)
    for row in range(20):
        expected = scores(Metric.L2, vectors[row : row + 1], vectors)[0]
        assert_best(expected, rows[row], found[row], 1e-3)
    index.close()


def test_a_huge_and_a_tiny_vector_have_a_direction() -> None:
    vectors = np.array([[3e38, 3e38], [1e-38, -1e-38], [1e-44, 0], [0, 0], [0, 1]], np.float32)
    index = filled(vectors)
    found, rows = index.search(np.array([[3e38, 0], [1e-44, 0]], np.float32), 5)
    for each in rows:
        assert each.tolist() == [2, 0, 1, 3, 4]
    assert found[0] == pytest.approx([1, 0.5**0.5, 0.5**0.5, 0, 0], abs=1e-6)
    index.close()


@given(st.data())
@settings(max_examples=40)
def test_any_vectors_under_any_metric(data: st.DataObject) -> None:
    metric = data.draw(st.sampled_from(list(Metric)))
    dimension = data.draw(st.integers(1, 5))
    numbers = st.floats(-100, 100, width=32)
    vectors = data.draw(
        hnp.arrays(np.float32, st.tuples(st.integers(1, 60), st.just(dimension)), elements=numbers)
    )
    queries = data.draw(
        hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(dimension)), elements=numbers)
    )
    index = filled(vectors, metric, batch=7)
    try:
        check(index, vectors, queries, data.draw(st.integers(1, 70)))
    finally:
        index.close()


def test_of_equal_scores_the_lower_row_comes_first() -> None:
    index = filled(np.ones((500, 3), np.float32))
    _, rows = index.search(np.ones((1, 3), np.float32), 20)
    assert rows.tolist() == [list(range(20))]
    index.close()


@pytest.fixture
def empty() -> Iterator[SpaceIndex]:
    index = SpaceIndex(3)
    yield index
    index.close()


def test_an_empty_index_finds_nothing(empty: SpaceIndex) -> None:
    found, rows = empty.search(np.ones((2, 3), np.float32), 4)
    assert (rows == -1).all()
    assert np.isneginf(found).all()


@pytest.mark.parametrize("shape", [(3,), (1, 2), (1, 4)])
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...], empty: SpaceIndex) -> None:
    with pytest.raises(InvalidArgumentError, match=r"queries.*must be \(n, 3\)"):
        empty.search(np.ones(shape, np.float32), 1)
    with pytest.raises(InvalidArgumentError, match=r"vectors.*must be \(1, 3\)"):
        empty.update(np.array([0]), np.ones(shape, np.float32), NONE)
    assert len(empty) == 0
