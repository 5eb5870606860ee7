"""The tail of a lone query is scanned in one call, and found as the exact scan finds it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.index.exact import best, scan_all
from embeddb.index.metric import prepared
from embeddb.index.tail import MOST_PLACES, merged, scan_tail
from embeddb.index.vectors import Allowed, Vectors
from embeddb.query import Encoding, Metric

DIMENSION = 8


def filled(
    metric: Metric, count: int, seed: int, *, distinct: int | None = None, dtype: str = "float32"
) -> Vectors:
    rng = np.random.default_rng(seed)
    given_vectors = rng.normal(size=(distinct or count, DIMENSION)).astype(np.float32)
    vectors = Vectors(metric, DIMENSION, Encoding(dtype))
    chosen = given_vectors[rng.integers(len(given_vectors), size=count)] if distinct else given_vectors
    vectors.append(np.arange(count), prepared(metric, chosen))
    return vectors


@given(
    metric=st.sampled_from(Metric),
    count=st.integers(1, 400),
    start=st.integers(0, 199),
    k=st.integers(1, 150),
    dead=st.integers(0, 3),
    distinct=st.one_of(st.none(), st.integers(1, 20)),
    filtered=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_finds_what_the_exact_scan_finds(
    metric: Metric,
    count: int,
    start: int,
    k: int,
    dead: int,
    distinct: int | None,
    filtered: bool,
    seed: int,
) -> None:
    start %= count
    vectors = filled(metric, count, seed, distinct=distinct)
    rng = np.random.default_rng(seed + 1)
    if dead:
        vectors.bury(np.unique(rng.integers(count, size=dead * count // 4)))
    moment = vectors.moment()
    rows = np.flatnonzero(rng.random(count) < 0.3) if filtered else None
    query = prepared(metric, rng.normal(size=(1, DIMENSION)).astype(np.float32))
    behind = np.zeros(count, np.bool_)
    behind[start:] = True if (allowed := moment.allowed(rows)) is None else allowed.mask(start, count)
    only = Allowed(np.packbits(behind, bitorder="little"), int(behind.sum()))
    expected = scan_all(moment, query, k, only)
    found = scan_tail(moment, start, query, k, allowed)
    if found is None:
        # Only where FAISS would have to choose among equals, with none left or one more.
        more = scan_all(moment, query, k + 1, only)[0][0]
        assert more[k] == pytest.approx(more[k - 1], abs=1e-6)
        return
    nothing = np.full((1, 3), -np.inf, np.float32), np.full((1, 3), -1, np.int64)
    scores, places = merged(nothing, found, k)
    assert scores.shape == places.shape == (1, k)
    assert scores[0] == pytest.approx(expected[0][0], abs=1e-5)
    # To the bit in one order, but for rounding among near-equals.
    if distinct is None:
        assert places.tolist() == expected[1].tolist()


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=12), st.integers(1, 30))
def test_two_rankings_are_merged_as_one(one: list[int], other: list[int], k: int) -> None:
    def ranking(scores: list[int], start: int) -> tuple[np.ndarray, np.ndarray]:
        found = np.array([[*sorted(scores, reverse=True), -np.inf]], np.float32)
        return found, np.array([[*range(start, start + len(scores)), -1]], np.int64)

    first, second = ranking(one, 0), ranking(other, 100)
    expected = best(np.hstack([first[0], second[0]]), np.hstack([first[1], second[1]]), k)
    assert [each.tolist() for each in merged(first, second, k)] == [each.tolist() for each in expected]
    assert [each.dtype for each in merged(first, second, k)] == [np.float32, np.int64]


def test_it_leaves_to_the_exact_scan_what_that_does_better() -> None:
    query = prepared(Metric.COSINE, np.ones((1, DIMENSION), np.float32))
    many = filled(Metric.COSINE, MOST_PLACES + 1, 0).moment()
    assert scan_tail(many, 0, query, 3, None) is None
    assert scan_tail(many, 1, query, 3, None) is not None
    assert scan_tail(many, 1, np.vstack([query, query]), 3, None) is None
    small = filled(Metric.COSINE, 9, 0, dtype="float16").moment()
    assert scan_tail(small, 0, query, 3, None) is None
