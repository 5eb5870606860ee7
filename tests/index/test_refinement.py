"""Candidates that FAISS finds and scores in one call are what they are in two."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddb.index import IndexPolicy, SpaceIndex
from embeddb.index.approximate import Approximate
from embeddb.index.metric import prepared
from embeddb.index.refinement import Refinement
from embeddb.index.tuned import Tuned
from embeddb.index.vectors import Allowed, Vectors
from embeddb.query import Metric
from tests.index.reference import scores

DIMENSION = 16
COUNT = 1000
FACTORIES = ["IVF8,SQ8", "IVF16(PQ4x4fs,Refine(Flat)),PQ8x4fs", "PCAR8,IVF8,Flat", "HNSW8"]
NONE = np.empty(0, np.int64)
Floats = npt.NDArray[np.float32]


def numbers(count: int, seed: int) -> Floats:
    """Small whole numbers, of which many vectors have the same, so that many scores are equal."""
    rng = np.random.default_rng(seed)
    few = rng.integers(-2, 3, size=(count // 3 + 1, DIMENSION))
    return few[rng.integers(len(few), size=count)].astype(np.float32)


def filled(metric: Metric, capacity: int = 0) -> Vectors:
    """All vectors, each time in other memory."""
    vectors = Vectors(metric, DIMENSION, np.float32, capacity)
    vectors.append(np.arange(COUNT), prepared(metric, numbers(COUNT, 0)))
    return vectors


@lru_cache
def indexed(factory: str, metric: Metric) -> Approximate:
    """An index of them."""
    moment = filled(metric).moment()
    approximate = Approximate.train(factory, moment)
    approximate.add(moment.vectors)
    approximate.tune(moment, 0.95)
    return approximate


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(FACTORIES),
    st.sampled_from(list(Metric)),
    st.integers(1, 5),
    st.sampled_from([1, 10, 40, COUNT + 5]),
    st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_they_are_those_of_two_calls_to_the_bit(
    factory: str, metric: Metric, queries: int, k: int, dead: float, filtered: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = filled(metric)
    vectors.bury(np.flatnonzero(rng.random(COUNT) < dead))
    moment = vectors.moment()
    allowed = None
    if filtered:
        mask = moment.living.mask(0, COUNT) & (rng.random(COUNT) < 0.5)
        allowed = Allowed(np.packbits(mask, bitorder="little"), int(mask.sum()))
    approximate = indexed(factory, metric)
    arguments = moment, COUNT, prepared(metric, numbers(queries, seed)), k, 3, allowed
    with patch.object(Approximate, "_candidates", side_effect=AssertionError("two calls")):
        found, places = approximate.search(*arguments)
    with patch.object(Approximate, "_refined", return_value=None):
        wanted, wanted_places = approximate.search(*arguments)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(places, wanted_places)


@pytest.mark.parametrize("metric", list(Metric))
def test_vectors_are_read_where_they_are(metric: Metric) -> None:
    vectors = prepared(metric, np.random.default_rng(0).normal(size=(20, DIMENSION)).astype(np.float32))
    index = indexed_flat(vectors, metric)
    refinement = Refinement(index)
    query = prepared(metric, numbers(1, 5))
    parameters = faiss.IndexRefineSearchParameters()
    before = refinement.search(vectors, query, 20, parameters)[0]
    vectors *= 3
    found, places = refinement.search(vectors, query, 20, parameters)
    assert not np.allclose(np.sort(found), np.sort(before))
    kind = Metric.L2 if metric is Metric.L2 else Metric.INNER_PRODUCT
    np.testing.assert_allclose(found[0], scores(kind, query, vectors)[0, places[0]], rtol=1e-5, atol=1e-5)
    assert sorted(places[0]) == list(range(20))
    # And where they are now, once they have moved.
    moved = vectors / 3
    np.testing.assert_allclose(refinement.search(moved, query, 20, parameters)[0], before, atol=1e-5)


def indexed_flat(vectors: Floats, metric: Metric) -> faiss.Index:
    kind = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexScalarQuantizer(DIMENSION, faiss.ScalarQuantizer.QT_8bit, kind)
    index.train(vectors)
    index.add(vectors)
    return index


def test_a_moment_that_is_older_than_the_index_is_searched_as_it_was() -> None:
    """Its matrix has no room for what was added since, and another one has taken its place."""
    vectors = filled(Metric.COSINE, COUNT)
    approximate = Approximate.train("IVF8,SQ8", vectors.moment())
    approximate.add(vectors.moment().vectors)
    before = vectors.moment()
    approximate.tune(before, 0.95)
    more = 20 * COUNT
    vectors.append(np.arange(COUNT, COUNT + more), prepared(Metric.COSINE, numbers(more, 1)))
    now = vectors.moment()
    queries = prepared(Metric.COSINE, numbers(5, 2))
    wanted = approximate.search(before, COUNT, queries, 10, 8)
    approximate.add(now.vectors[COUNT:])
    assert not np.shares_memory(before.kept, now.kept)
    with patch.object(Tuned, "shortlist", return_value=(3.0, 20 * COUNT)):
        found, places = approximate.search(before, COUNT, queries, 10, 8)
    assert places.max() < COUNT
    np.testing.assert_array_equal(found, wanted[0])
    found, places = approximate.search(now, COUNT + more, queries, 10, 8)
    assert places.max() >= COUNT
    expected = np.take_along_axis(scores(Metric.COSINE, queries, now.kept), places, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("queries", [1, 3])
def test_what_was_added_meanwhile_takes_no_second_call_and_is_left_to_others(queries: int) -> None:
    vectors = filled(Metric.COSINE)
    moment, half = vectors.moment(), COUNT // 2
    approximate = Approximate.train("IVF8,SQ8", moment)
    approximate.add(moment.vectors[:half])
    approximate.tune(moment, 0.95)
    arguments = moment, half, prepared(Metric.COSINE, numbers(queries, 1)), half, 8
    wanted = approximate.search(*arguments)
    approximate.add(moment.vectors[half:])
    with (
        patch.object(Approximate, "_candidates", side_effect=AssertionError("two calls")),
        patch.object(Tuned, "shortlist", return_value=(2.0, 0)),
    ):
        found, places = approximate.search(*arguments)
    np.testing.assert_array_equal(found, wanted[0])
    np.testing.assert_array_equal(places, wanted[1])


def test_an_index_that_grows_between_two_looks_finds_what_lives() -> None:
    """The second look, for those that found too few among the dead, has more places than the first had."""
    vectors = filled(Metric.COSINE, COUNT)
    vectors.bury(np.arange(0, COUNT, 2))
    moment = vectors.moment()
    approximate = Approximate.train("IVF8,SQ8", moment)
    approximate.add(moment.vectors[: COUNT // 2])
    approximate.tune(moment, 0.95)
    looks = []

    def look(self: Approximate, *arguments: Any) -> tuple[Floats, npt.NDArray[np.int64]]:
        looks.append(len(self))
        found = scored(self, *arguments)
        if len(looks) == 1:
            self.add(moment.vectors[COUNT // 2 :])
        return found

    scored = Approximate._scored
    with patch.object(Approximate, "_scored", look):
        found, places = approximate.search(moment, COUNT, prepared(Metric.COSINE, numbers(3, 1)), 400, 8)
    assert looks == [COUNT // 2, COUNT]
    assert found.shape == places.shape == (3, 400)
    assert moment.are_living(places).all()


def test_searches_beside_a_matrix_that_grows_score_what_they_find() -> None:
    """Vectors move as they find no more room, while searches on other threads read them."""
    index = SpaceIndex(DIMENSION, Metric.INNER_PRODUCT, IndexPolicy("IVF8,SQ8"))
    vectors = np.random.default_rng(0).normal(size=(40_000, DIMENSION)).astype(np.float32)
    index.update(np.arange(1000), vectors[:1000], NONE)
    index.settle()
    query = vectors[:1]
    expected = (vectors @ query.T)[:, 0]
    over, wrong, searched = threading.Event(), [], [0, 0]

    def ask(caller: int) -> None:
        while not over.is_set():
            found, rows = index.search(query, 10)
            searched[caller] += 1
            if not np.allclose(found[0], expected[rows[0]], atol=1e-4):
                wrong.append((found, rows))

    callers = [threading.Thread(target=ask, args=(caller,)) for caller in range(2)]
    for caller in callers:
        caller.start()
    for start in range(1000, len(vectors), 500):
        index.update(np.arange(start, start + 500), vectors[start : start + 500], NONE)
    over.set()
    for caller in callers:
        caller.join()
    index.close()
    assert not wrong
    assert min(searched) > 0
