"""Approximate indexes: built beside what serves, as good as asked for, and never in the way."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from embeddb.errors import UnavailableError
from embeddb.index import IndexPolicy, SpaceIndex, policy, tuning, upkeep
from embeddb.index.approximate import Approximate
from embeddb.options import Effort
from embeddb.query import Metric
from tests.index.clusters import DIMENSION, Floats, clustered, recall_at_10
from tests.index.reference import assert_best, scores

ROOT = Path(__file__).parents[2]
NONE = np.empty(0, np.int64)
# The codes of vectors, and the centres of lists, as `auto` has them where they are many.
CODED_CENTRES = "IVF32(PQ4x4fs,Refine(Flat)),PQ16x4fs"


def add(index: SpaceIndex, first: int, vectors: Floats, removed: npt.NDArray[np.int64] = NONE) -> None:
    index.update(np.arange(first, first + len(vectors)), vectors, removed)


def recall(index: SpaceIndex, effort: Effort, allowed: npt.NDArray[np.int64] | None = None) -> float:
    return recall_at_10(index, clustered(300, seed=7), effort, allowed)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize(
    "factory", ["IVF32,SQ8", "IVF32,PQ16x4fs", CODED_CENTRES, "HNSW16", "PCAR16,IVF32,Flat"]
)
def test_it_is_as_good_as_the_policy_asks(
    factory: str, metric: Metric, make: Callable[..., SpaceIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "HNSW_MINIMUM", 1000)
    vectors = clustered(6000)
    index = make(factory, metric)
    add(index, 0, vectors)
    index.settle()
    assert repr(index).startswith(f"{factory}, effort ")
    expected = scores(metric, vectors[:5], vectors)
    found, rows = index.search(vectors[:5], 20, effort=Effort.EXACT)
    for each in zip(expected, rows, found, strict=True):
        assert_best(*each, tolerance=1e-4)
    speed, balanced, accuracy = (
        recall(index, each) for each in (Effort.SPEED, Effort.BALANCED, Effort.ACCURACY)
    )
    assert 0.8 < speed <= balanced <= accuracy
    # The sample that it was tuned on is another one than this.
    assert balanced > 0.93
    assert accuracy > 0.97


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "IVF32,PQ16x4fs", CODED_CENTRES])
def test_what_comes_and_goes_is_seen_at_once(factory: str, make: Callable[..., SpaceIndex]) -> None:
    index = make(factory)
    vectors = clustered(9000)
    add(index, 0, vectors[:2000])
    index.settle()
    # One after the other: in the tail, and added to the index once the tail is long; and gone again.
    for first in range(2000, 9000, 500):
        add(index, first, vectors[first : first + 500], removed=np.arange(first - 2000, first - 1900))
        rows = index.search(vectors[first : first + 500], 1)[1][:, 0]
        assert (rows == np.arange(first, first + 500)).all()
        gone = index.search(vectors[first - 2000 : first - 1900], 10)[1]
        assert not np.isin(gone, np.arange(first - 2000, first - 1900)).any()
    index.settle()
    assert len(index) == 9000 - 14 * 100
    assert recall(index, Effort.BALANCED) > 0.93


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "IVF32,PQ16x4fs", CODED_CENTRES])
def test_what_is_added_after_many_are_gone_is_found(
    factory: str, make: Callable[..., SpaceIndex], builds: list[str]
) -> None:
    """FAISS 1.15 loses what is added to lists of the fast scan after something was taken out of them."""
    index = make(factory)
    vectors = clustered(10_000)
    add(index, 0, vectors[:5000])
    index.settle()
    add(index, 5000, vectors[:0], removed=np.arange(1000))
    index.settle()
    add(index, 5000, vectors[5000:])
    index.settle()
    rows = index.search(vectors[5000:], 1, effort=Effort.ACCURACY)[1][:, 0]
    assert (rows == np.arange(5000, 10_000)).mean() > 0.99
    assert builds == [factory]


def test_searches_go_on_while_it_is_built(
    make: Callable[..., SpaceIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build is held at its worst moment; searches and writes do not wait, and nothing of them is lost."""
    reached, go_on = threading.Event(), threading.Event()
    tune = Approximate.tune

    def held(self: Approximate, *arguments: object) -> None:
        reached.set()
        assert go_on.wait(60)
        tune(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Approximate, "tune", held)
    index = make()
    vectors = clustered(6000)
    add(index, 0, vectors[:3000])
    assert reached.wait(60)
    assert repr(index) == "exact"
    add(index, 3000, vectors[3000:], removed=np.arange(0, 3000, 2))
    rows = index.search(vectors, 1)[1][:, 0]
    assert (rows[1:3000:2] == np.arange(1, 3000, 2)).all()
    assert (rows[3000:] == np.arange(3000, 6000)).all()
    go_on.set()
    index.settle()
    assert repr(index).startswith("IVF32,SQ8")
    assert len(index) == 4500
    rows = index.search(vectors, 1, effort=Effort.EXACT)[1][:, 0]
    assert (rows[1:3000:2] == np.arange(1, 3000, 2)).all()
    assert not np.isin(rows, np.arange(0, 3000, 2)).any()
    assert recall(index, Effort.BALANCED) > 0.93


def test_an_index_that_cannot_be_so_good_says_so(
    make: Callable[..., SpaceIndex], caplog: pytest.LogCaptureFixture
) -> None:
    index = make("IVF32,PQ1")
    add(index, 0, clustered(6000))
    index.settle()
    assert "asks for 0.95" in caplog.text
    # It is what was asked for.
    assert repr(index).startswith("IVF32,PQ1, effort ")


@pytest.mark.parametrize(
    ("common", "metric", "codes"),
    [
        (0, Metric.COSINE, "PQ64x4fs"),
        (1000, Metric.COSINE, "SQ8"),
        (1000, Metric.INNER_PRODUCT, "SQ8"),
        # What all have in common takes no part in distances.
        (1000, Metric.L2, "PQ64x4fs"),
    ],
)
def test_vectors_that_short_codes_cannot_tell_apart_have_longer_ones(
    common: float, metric: Metric, codes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "EXACT_ALWAYS", 1000)
    monkeypatch.setattr(policy, "EXACT_NUMBERS", 0)
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(count, 128)).astype(np.float32) for count in (3000, 200))
    vectors[:, 0] += common
    queries[:, 0] += common
    with closing(SpaceIndex(128, metric)) as index:
        add(index, 0, vectors)
        index.settle()
        assert f",{codes}, effort" in repr(index)
        assert recall_at_10(index, queries) > 0.93


def test_longer_codes_come_when_what_is_added_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "EXACT_ALWAYS", 1000)
    monkeypatch.setattr(policy, "EXACT_NUMBERS", 0)
    # Else it is built anew for that as well.
    monkeypatch.setattr(upkeep, "MAX_DRIFT", float("inf"))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4200, 128)).astype(np.float32)
    vectors[3000:, 0] += 30
    with closing(SpaceIndex(128, Metric.COSINE)) as index:
        add(index, 0, vectors[:3000])
        index.settle()
        assert ",PQ64x4fs, effort" in repr(index)
        add(index, 3000, vectors[3000:])
        index.settle()
        assert ",SQ8, effort" in repr(index)
        assert recall_at_10(index, vectors[::21]) > 0.93


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "IVF32,PQ16x4fs"])
@pytest.mark.parametrize("share", [0.5, 0.15, 0.05, 0.001])
def test_filtered_searches_find_k_and_the_right_ones(
    share: float, factory: str, make: Callable[..., SpaceIndex]
) -> None:
    index = make(factory)
    add(index, 0, clustered(20_000))
    index.settle()
    allowed = np.flatnonzero(np.random.default_rng(5).random(20_000) < share)
    rows = index.search(clustered(50, seed=8), 15, allowed)[1]
    assert np.isin(rows, allowed).all()
    assert recall(index, Effort.BALANCED, allowed) > 0.93


def test_a_filter_that_goes_with_the_vectors_finds_k(make: Callable[..., SpaceIndex]) -> None:
    """All that is allowed lies far from the query, in lists that an unfiltered search would never probe."""
    index = make()
    vectors = clustered(20_000)
    add(index, 0, vectors)
    index.settle()
    query = vectors[:1]
    far = np.sort(np.argsort(scores(Metric.COSINE, query, vectors)[0])[:4000])
    rows = index.search(query, 50, far)[1][0]
    assert np.isin(rows, far).all()
    assert len(set(rows.tolist())) == 50


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "EXACT_LIMIT", 2000)
    monkeypatch.setattr(upkeep, "MAX_TAIL", 500)


def test_auto_is_as_good_as_asked_for_in_many_dimensions(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the codes that it has from 128 dimensions on, of which this module's other vectors have fewer."""
    monkeypatch.setattr(policy, "EXACT_NUMBERS", 0)
    index = SpaceIndex(128, policy=IndexPolicy("auto"))
    request.addfinalizer(index.close)
    wide = np.random.default_rng(3).normal(size=(DIMENSION, 128)).astype(np.float32)
    index.update(np.arange(12_000), clustered(12_000) @ wide, NONE)
    index.settle()
    assert repr(index).startswith("IVF307,PQ64x4fs, effort ")
    queries = clustered(300, seed=7) @ wide
    for k in (10, 100):
        exact = index.search(queries, k, effort=Effort.EXACT)[1]
        found = index.search(queries, k)[1]
        assert np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, found, strict=True)]) > 0.93


@pytest.mark.usefixtures("small_limits")
def test_the_index_grows_and_shrinks_with_its_space(make: Callable[..., SpaceIndex]) -> None:
    index = make("auto")
    vectors = clustered(9000)
    add(index, 0, vectors[:1999])
    index.settle()
    assert repr(index) == "exact"
    add(index, 1999, vectors[1999:3000])
    index.settle()
    assert repr(index).startswith("IVF76,SQ4")
    add(index, 3000, vectors[3000:5000])
    index.settle()
    assert repr(index).startswith("IVF76,SQ4")
    add(index, 5000, vectors[5000:])
    index.settle()
    assert repr(index).startswith("IVF230,SQ4")
    add(index, 9000, vectors[:0], removed=np.arange(8000))
    index.settle()
    assert repr(index) == "exact"
    assert index.search(vectors[8500:8501], 1)[1].tolist() == [[8500]]
    assert len(index) == 1000


def test_an_index_that_has_grown_is_tuned_anew(
    make: Callable[..., SpaceIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph is not built anew, and what was effort enough in a small one is not in a large one."""
    monkeypatch.setattr(policy, "HNSW_MINIMUM", 1000)
    index = make("HNSW4")
    add(index, 0, clustered(1000))
    index.settle()
    small = repr(index)
    for part in range(1, 7):
        add(index, 1000 * part, clustered(1000, seed=part))
        index.settle()  # So that it is tuned at 3,000 and at 7,000, however fast the thread is.
    assert repr(index) != small
    assert recall(index, Effort.BALANCED) >= 0.93


def test_the_shortlist_is_as_long_as_the_codes_need_it(
    make: Callable[..., SpaceIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shortlist(factory: str) -> tuple[float, int]:
        index = make(factory)
        add(index, 0, clustered(3000))
        index.settle()
        short = recall(index, Effort.BALANCED) < 0.93
        assert short == (factory == "IVF16,PQ8x4" and len(tuning.SHORTLISTS) == 1)
        serving = index._contents.state.approximate
        assert serving is not None
        return serving.tuned.shortlist(10)

    assert shortlist("IVF16,Flat") == tuning.WHOLE
    assert shortlist("IVF16,SQ8") == tuning.SHORTLISTS[0]
    assert shortlist("IVF16,PQ8x4") > tuning.SHORTLISTS[0]
    monkeypatch.setattr(tuning, "SHORTLISTS", tuning.SHORTLISTS[:1])
    assert shortlist("IVF16,PQ8x4") == tuning.SHORTLISTS[0]


def test_the_hits_beyond_a_small_cluster_are_found(request: pytest.FixtureRequest) -> None:
    """Twenty are near, and what comes next is far away on all sides, where codes hardly tell it apart."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(250, 128))
    vectors = (np.repeat(centres, 20, 0) + 0.1 * rng.normal(size=(5000, 128))).astype("f4")
    index = SpaceIndex(128, policy=IndexPolicy("IVF64,PQ64x4fs"))
    request.addfinalizer(index.close)
    add(index, 0, rng.permutation(vectors))
    index.settle()
    queries = (centres[:200] + 0.1 * rng.normal(size=(200, 128))).astype("f4")
    for k in (10, 15, 25, 30, 50, 70, 100):
        exact, found = (
            index.search(queries, k, effort=effort)[1] for effort in (Effort.EXACT, Effort.BALANCED)
        )
        share = np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, found, strict=True)])
        assert share >= 0.95, k


@pytest.mark.parametrize("k", [100, 200, 500, 1000])
def test_more_hits_take_more_effort(k: int, make: Callable[..., SpaceIndex]) -> None:
    index = make("IVF256,SQ8")
    add(index, 0, clustered(12_000))
    index.settle()
    serving = index._contents.state.approximate
    assert serving is not None
    efforts = [serving.effort(0.95, each, 12_000) for each in (1, 10, 30, k)]
    assert efforts[0] == efforts[1] <= efforts[2] < efforts[3]
    queries = clustered(300, seed=7)
    exact = index.search(queries, k, effort=Effort.EXACT)[1]
    accurate = index.search(queries, k, effort=Effort.ACCURACY)[1]
    assert np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, accurate, strict=True)]) >= 0.98
    covered = index._contents.state.moment
    # Asked by itself, for where the lists that are probed hold too few, the index's place is taken by a scan.
    for effort, enough in (efforts[3], True), (efforts[0], False):
        found = serving.search(covered, len(covered), queries, k, effort)[1]
        share = np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, found, strict=True)])
        assert (share > 0.93) == enough


def test_tuning_that_is_ended_changes_nothing(make: Callable[..., SpaceIndex]) -> None:
    index = make()
    add(index, 0, clustered(3000))
    index.settle()
    serving = index._contents.state.approximate
    assert serving is not None
    before, left = serving.tuned, iter([True, True, True])
    serving.tune(index._contents.state.moment, 0.95, lambda: next(left, False))
    assert serving.tuned is before
    assert next(left, None) is None


def test_many_threads_search_codes_of_the_fast_scan_at_once(make: Callable[..., SpaceIndex]) -> None:
    index = make("IVF32,PQ16x4fs")
    add(index, 0, clustered(6000))
    index.settle()
    queries = clustered(200, seed=7)
    expected = [index.search(queries[n : n + 1], 10)[1].tolist() for n in range(len(queries))]

    def search(n: int) -> list[list[int]]:
        rows: list[list[int]] = index.search(queries[n : n + 1], 10)[1].tolist()
        return rows

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(search, list(range(len(queries))) * 5))
    assert found == expected * 5


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "IVF32,PQ16x4fs"])
def test_half_of_it_replaced_is_as_good_as_new(factory: str, make: Callable[..., SpaceIndex]) -> None:
    index, fresh = make(factory), make(factory)
    vectors = clustered(12_000)
    add(index, 0, vectors[:8000])
    index.settle()
    for first in range(8000, 12_000, 1000):
        add(index, first, vectors[first : first + 1000], removed=np.arange(first - 8000, first - 7000))
    index.settle()
    add(fresh, 4000, vectors[4000:])
    fresh.settle()
    assert recall(index, Effort.BALANCED) > recall(fresh, Effort.BALANCED) - 0.05


def test_a_build_that_fails_is_logged_and_tried_again_later(
    make: Callable[..., SpaceIndex], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def fail(cls: type, factory: str, moment: object) -> Approximate:
        tried.append(factory)
        raise MemoryError("no room")

    with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
        broken.setattr(Approximate, "train", classmethod(fail))
        index = make()
        vectors = clustered(6000)
        for first in range(0, 3000, 500):
            add(index, first, vectors[first : first + 500])
            index.settle()
        assert index.search(vectors[:5], 1)[1][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert len(tried) == 2  # At 1,500 and, since that failed, at twice as many.
    assert "could not be brought up to date" in caplog.text
    add(index, 3000, vectors[3000:])
    index.settle()
    assert repr(index).startswith("IVF32,SQ8")


def test_closing_ends_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    added = Approximate.add

    def noted(self: Approximate, vectors: Floats, go_on: Callable[[], bool]) -> None:
        started.set()
        while go_on():
            pass
        added(self, vectors, go_on)

    monkeypatch.setattr(Approximate, "add", noted)
    index = SpaceIndex(DIMENSION, policy=IndexPolicy("IVF32,SQ8"))
    add(index, 0, clustered(3000))
    assert started.wait(60)
    index.close()
    assert repr(index) == "exact"


def test_what_is_closed_lets_go_of_its_memory_and_answers_no_more() -> None:
    index = SpaceIndex(DIMENSION, policy=IndexPolicy("IVF32,SQ8"))
    add(index, 0, clustered(3000))
    index.settle()
    held = [
        weakref.ref(index._contents.state.moment.vectors.base),
        weakref.ref(index._contents.state.approximate),
    ]
    # Not that it finds them by chance.
    gc.disable()
    try:
        index.close()
        assert [each() for each in held] == [None, None]
    finally:
        gc.enable()
    for effort in Effort:
        with pytest.raises(UnavailableError):
            index.search(clustered(1), 1, effort=effort)


def test_several_queries_can_stay_on_the_thread_that_asks(
    make: Callable[..., SpaceIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make()
    add(index, 0, clustered(4000))
    index.settle()
    queries = clustered(8, seed=7)
    scores, rows = index.search(queries, 10)
    threads = []
    search = Approximate.search

    def noted(*args: Any) -> tuple[Floats, npt.NDArray[np.int64]]:
        threads.append((threading.current_thread(), faiss.omp_get_max_threads()))
        return search(*args)

    monkeypatch.setattr(Approximate, "search", noted)
    before = faiss.omp_get_max_threads()
    found_scores, found = index.search(queries, 10, here=True)
    assert threads == [(threading.current_thread(), 1)]
    assert faiss.omp_get_max_threads() == before
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_allclose(found_scores, scores, rtol=1e-6)
    index.search(queries, 10)
    index.search(queries, 10, np.arange(3000), here=True)
    assert threading.current_thread() not in [thread for thread, _ in threads[1:]]


def test_threads_for_searches_are_left_alone(make: Callable[..., SpaceIndex]) -> None:
    before = faiss.omp_get_max_threads()
    index = make()
    add(index, 0, clustered(3000))
    index.settle()
    assert faiss.omp_get_max_threads() == before


SEARCH_BESIDE_TORCH_UTILS = """
import faiss.contrib.torch_utils
from tests.index.test_approximate import Approximate, Effort, IndexPolicy, SpaceIndex, add, clustered, recall
index = SpaceIndex(16, policy=IndexPolicy(factory="IVF8,Flat"))
add(index, 0, clustered(2000))
index.settle()
print(repr(index), recall(index, Effort.BALANCED))
index.close()
"""


def test_what_other_libraries_do_to_faiss_does_no_harm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEARCH_BESIDE_TORCH_UTILS], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.startswith("IVF8,Flat, effort "), done.stderr
