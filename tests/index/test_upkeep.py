"""What an index does beside searches: it measures itself, sweeps out the dead, and follows what drifts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from embeddb.index import IndexPolicy, SpaceIndex, recall
from embeddb.index.approximate import Approximate
from embeddb.index.vectors import Moment
from embeddb.options import Effort
from embeddb.query import Encoding
from tests.index import clusters
from tests.index.clusters import Floats, recall_at_10

NONE = np.empty(0, np.int64)
LISTS = "IVF64,SQ8"
Make = Callable[..., SpaceIndex]

clustered = partial(clusters.clustered, centres=20, spread=0.5)


def add(index: SpaceIndex, first: int, vectors: Floats, removed: npt.NDArray[np.int64] = NONE) -> None:
    index.update(np.arange(first, first + len(vectors)), vectors, removed)
    index.settle()


def approximate(index: SpaceIndex) -> Approximate:
    found = index._contents.state.approximate
    assert found is not None
    return found


class Loading(threading.Event):
    """Its waits bring more vectors, until there are none."""

    def __init__(self, index: SpaceIndex, parts: int, builds: list[str]) -> None:
        super().__init__()
        self._index, self._parts, self._builds = index, parts, builds
        self.built: list[str] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.built += self._builds
        if self._parts:
            self._parts -= 1
            first = len(self._index)
            self._index.update(np.arange(first, first + 1000), clustered(1000, seed=first), NONE)
        return False


def test_while_vectors_are_loaded_nothing_is_built(
    make: Make, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embeddb.index.policy.EXACT_ALWAYS", 2000)
    monkeypatch.setattr("embeddb.index.policy.EXACT_NUMBERS", 0)
    index = make("auto")
    index._upkeep._closed = loading = Loading(index, 3, builds)
    add(index, 0, clustered(2000, seed=1))
    assert len(index) == 5000
    assert loading.built == []
    assert builds == ["IVF128,SQ4"]


def test_more_of_the_same_is_no_drift(make: Make, builds: list[str]) -> None:
    index = make(LISTS)
    for part in range(8):
        add(index, 3000 * part, clustered(3000, seed=part))
    assert len(builds) == 1
    assert recall_at_10(index, clustered(200, seed=50)) > 0.93


def test_an_index_that_its_vectors_have_left_is_built_anew(make: Make, builds: list[str]) -> None:
    """What comes lies where few of the lists are, which grow long, and beyond what the codes reach."""
    index = make(LISTS)
    add(index, 0, clustered(6000, seed=0))
    for part in range(1, 9):
        add(index, 5000 + 1000 * part, clustered(1000, seed=part, place=3.0))
    assert len(builds) == 2
    assert recall_at_10(index, clustered(200, seed=50, place=3.0)) > 0.93


def test_what_came_during_a_build_is_added_before_the_next_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embeddb.index.policy.EXACT_ALWAYS", 1000)
    monkeypatch.setattr("embeddb.index.policy.EXACT_NUMBERS", 0)
    index = make("auto")
    add(index, 0, clustered(2000, seed=0))
    trained, may, begun, behind = Approximate.train, threading.Event(), threading.Event(), []

    def train(factory: str, moment: Moment) -> Approximate:
        behind.append((len(moment), len(moment) - len(approximate(index))))
        begun.set()
        assert may.wait(30)
        return trained(factory, moment)

    monkeypatch.setattr(Approximate, "train", train)
    # So many, in one step: they are added before a build begins.
    index.update(np.arange(2000, 4500), clustered(2500, seed=1), NONE)
    assert begun.wait(30)
    index.update(np.arange(4500, 11000), clustered(6500, seed=2), NONE)
    may.set()
    index.settle()
    assert behind == [(4500, 0), (11000, 0)]
    assert len(approximate(index)) == 11000


@pytest.mark.parametrize(
    ("factory", "swept"), [("IVF64,SQ8", True), ("PCAR16,IVF64,SQ8", True), ("HNSW16", False)]
)
def test_the_dead_are_swept_out_of_lists(
    factory: str, swept: bool, make: Make, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embeddb.index.policy.HNSW_MINIMUM", 1000)
    index = make(factory)
    vectors = clustered(4000, seed=0)
    add(index, 0, vectors[:2800])
    add(index, 2800, vectors[2800:], removed=np.arange(0, 700))
    assert len(approximate(index)) == 4000
    assert approximate(index).index.ntotal == (3300 if swept else 4000)
    assert (
        index.search(vectors[700:], 1, effort=Effort.ACCURACY)[1][:, 0] == np.arange(700, 4000)
    ).mean() > 0.97
    assert index.search(vectors[:700], 10)[1].min() >= 700
    assert len(builds) == 1


def test_where_only_the_dead_are_near_the_living_are_found(make: Make) -> None:
    index = make(LISTS)
    vectors = clustered(6000, seed=0)
    add(index, 0, vectors)
    query = vectors[:1]
    near = np.sort(index.search(query, 200, effort=Effort.EXACT)[1][0])
    index.update(NONE, vectors[:0], near)
    assert approximate(index).swept == 0
    exact = index.search(query, 10, effort=Effort.EXACT)[1][0]
    found = index.search(query, 10, effort=Effort.ACCURACY)[1][0]
    assert not np.isin(found, near).any()
    assert len(set(found) & set(exact)) >= 8


def test_recall_is_measured_anew_once_efforts_are_others(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "MAX_TIME_SHARE", 1e9)
    index = make(LISTS)
    add(index, 0, clustered(4000, seed=0))
    index.search(clustered(1, seed=1), 10)
    index._live_recall.close()
    assert index.recall is not None
    assert approximate(index).tuned.places == 4000
    add(index, 4000, clustered(2000, seed=2))
    assert approximate(index).tuned.places == 6000
    assert index.recall is None


def test_a_graph_is_tuned_for_queries_that_it_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embeddb.index.policy.HNSW_MINIMUM", 1000)
    dimension = 32
    index = SpaceIndex(dimension, policy=IndexPolicy("HNSW6"))
    vectors = np.random.default_rng(0).normal(size=(6300, dimension)).astype(np.float32)
    add(index, 0, vectors[:6000])
    # Tuned on items, it finds 0.93 of what is new.
    assert recall_at_10(index, vectors[6000:]) > 0.94
    index.close()


def test_while_vectors_are_loaded_nothing_is_tuned(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embeddb.index.upkeep.LOAD_SECONDS", 3600)
    index = make(LISTS)
    add(index, 0, clustered(4000, seed=0))
    for first in (4000, 5500):
        index.update(np.arange(first, first + 1500), clustered(1500, seed=first), NONE)
        while (thread := index._upkeep._thread) is not None:
            thread.join()
        assert len(approximate(index)) == first + 1500
        assert approximate(index).tuned.places == 4000
    index.settle()
    assert approximate(index).tuned.places == 7000


def test_an_index_that_is_twice_what_was_tuned_is_tuned_within_the_load(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embeddb.index.upkeep.LOAD_SECONDS", 3600)
    index = make(LISTS)
    add(index, 0, clustered(4000, seed=0))
    index.update(np.arange(4000, 9000), clustered(5000, seed=1), NONE)
    while (thread := index._upkeep._thread) is not None:
        thread.join()
    assert approximate(index).tuned.places == 9000


@pytest.mark.parametrize("dead", [0, 3])
def test_what_waits_to_be_added_is_found_by_a_lone_search(
    dead: int, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its codes, of which those that the index has by then are dropped a piece at a time."""
    monkeypatch.setattr("embeddb.index.exact.FEW_PLACES", 8)
    index = make(LISTS)
    vectors = clustered(9500, seed=0)
    add(index, 0, vectors[:4003])
    contents = index._contents
    monkeypatch.setattr(index._upkeep, "wake", lambda: None)
    index.update(np.arange(4003, 9500), vectors[4003:], np.arange(4003, 4003 + dead))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for covered in (4003, 5027, 9000, 9500):
        lists = approximate(index)
        lists.add(contents.state.moment.vectors[len(lists) : covered])
        contents.cover(lists)
        assert contents.state.codes.first == covered
        assert len(contents.state.codes) == 9500 - covered
        for row in (4003 + dead, 5026, 5027, 8999, 9499):
            scores, rows = index.search(vectors[row : row + 1], 5, effort=Effort.ACCURACY)
            assert rows[0, 0] == row
            np.testing.assert_allclose(scores[0], unit[rows[0]] @ unit[row], atol=1e-5)
            assert not set(rows[0]) & set(range(4003, 4003 + dead))


class Gated:
    """Additions to an index that wait until they may, or fail."""

    def __init__(self, index: SpaceIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        lists = approximate(index)
        self.begun = threading.Event()
        self.may = threading.Semaphore(0)
        self.fails = False
        self._add = lists.add
        monkeypatch.setattr(lists, "add", self._gated)

    def _gated(self, vectors: Floats, go_on: Callable[[], bool]) -> None:
        self.begun.set()
        while not self.may.acquire(timeout=0.01):
            if not go_on():
                return
        if self.fails:
            raise MemoryError
        self._add(vectors, go_on)


FarBehind = tuple[SpaceIndex, Gated, threading.Thread]


@contextmanager
def putting_far_ahead(index: SpaceIndex, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarBehind]:
    """Of the index 5,000 vectors are to be added, a thousand at a time, and somebody puts 1,500 more."""
    monkeypatch.setattr("embeddb.index.upkeep.COVERED_AT_ONCE", 1000)
    add(index, 0, clustered(4000, seed=0))
    gated = Gated(index, monkeypatch)

    def put(first: int, count: int) -> threading.Thread:
        vectors = clustered(count, seed=first)
        thread = threading.Thread(
            target=lambda: index.update(np.arange(first, first + count), vectors, NONE), daemon=True
        )
        thread.start()
        return thread

    putting = [put(4000, 5000)]
    assert gated.begun.wait(10)
    putting.append(put(9000, 1500))
    try:
        yield index, gated, putting[-1]
    finally:
        gated.may.release(100)
        for thread in putting:
            thread.join()


@pytest.fixture
def far_behind(make: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarBehind]:
    monkeypatch.setattr("embeddb.index.space_index.SEARCHED_SECONDS", 3600)
    index = make(LISTS)
    index._searched_at = time.monotonic()
    covered, counting = index._upkeep._covered, set()

    def noted() -> int:
        places = covered()
        counting.add(threading.get_ident())
        return places

    monkeypatch.setattr(index._upkeep, "_covered", noted)
    with putting_far_ahead(index, monkeypatch) as put:
        # Who puts counts what is added from when he begins to wait, so nothing may be added before.
        while put[2].ident not in counting:
            time.sleep(0.001)
        yield put


def test_who_puts_waits_for_twice_as_many_to_be_added(
    far_behind: FarBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, gated, putting = far_behind
    monkeypatch.setattr("embeddb.index.upkeep.HELD_BACK_TAIL", 100)
    gated.may.release(2)
    putting.join(0.3)
    assert putting.is_alive()
    # What was put is found, though nobody was told so yet.
    assert index.search(clustered(1500, seed=9000)[:1], 1)[1][0, 0] == 9000
    gated.may.release()
    putting.join(10)
    assert not putting.is_alive()
    assert len(approximate(index)) == 7000


def test_who_puts_waits_no_longer_than_the_index_is_far_behind(
    far_behind: FarBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, gated, putting = far_behind
    monkeypatch.setattr("embeddb.index.upkeep.HELD_BACK_TAIL", 5500)
    gated.may.release()
    putting.join(10)
    assert not putting.is_alive()
    assert len(approximate(index)) == 5000


def test_who_puts_waits_for_no_additions_that_failed(far_behind: FarBehind) -> None:
    index, gated, putting = far_behind
    gated.fails = True
    gated.may.release()
    putting.join(10)
    assert not putting.is_alive()
    assert len(approximate(index)) == 4000
    assert len(index) == 10_500


def test_who_puts_waits_for_no_index_that_is_closed(far_behind: FarBehind) -> None:
    index, _, putting = far_behind
    index.close()
    putting.join(10)
    assert not putting.is_alive()


@pytest.mark.parametrize(("factory", "searched"), [(LISTS, False), ("HNSW16", True)])
def test_who_puts_waits_for_nothing(
    factory: str, searched: bool, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody searches, nor for a graph, whose additions take so much longer."""
    monkeypatch.setattr("embeddb.index.policy.HNSW_MINIMUM", 1000)
    monkeypatch.setattr("embeddb.index.upkeep.HELD_BACK_TAIL", 100)
    index = make(factory)
    if searched:
        index._searched_at = time.monotonic() + 3600
    with putting_far_ahead(index, monkeypatch) as (_, _, putting):
        putting.join(10)
        assert not putting.is_alive()
        assert len(approximate(index)) == 4000


def test_float16_is_kept_as_float16(make: Make) -> None:
    index = make(LISTS, encoding=Encoding.FLOAT16)
    vectors = clustered(6000, seed=0)
    add(index, 0, vectors)
    moment = index._contents.state.moment
    assert moment.vectors.dtype == np.float16
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for effort in Effort:
        scores, rows = index.search(vectors[:50], 1, effort=effort)
        assert (rows[:, 0] == np.arange(50)).all()
        np.testing.assert_allclose(scores[:, 0], np.einsum("nd,nd->n", unit[:50], unit[:50]), atol=1e-3)


def test_a_lone_search_starts_no_threads(make: Make) -> None:
    """OpenMP keeps a team of threads for each thread that asks for one, and a server has many threads."""
    index = make(LISTS)
    vectors = clustered(6000, seed=0)
    add(index, 0, vectors)
    before = len(list(Path("/proc/self/task").iterdir()))
    during: list[int] = []

    def search() -> None:
        for row in range(20):
            assert index.search(vectors[row : row + 1], 10)[1][0, 0] == row
        during.append(len(list(Path("/proc/self/task").iterdir())))

    index._live_recall.due = lambda: False  # type: ignore[method-assign]
    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert during[0] <= before + 1
