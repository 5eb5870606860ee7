"""What live searches find, measured beside them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest

from embeddb.index import IndexPolicy, SpaceIndex, recall
from embeddb.index.recall import LiveRecall
from embeddb.options import Effort

DIMENSION = 16
NONE = np.empty(0, np.int64)
Floats = npt.NDArray[np.float32]


def drawn(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpaceIndex]:
    """An index that misses much, and compares every search."""
    monkeypatch.setattr(recall, "MAX_TIME_SHARE", 1e9)
    made = SpaceIndex(DIMENSION, policy=IndexPolicy("IVF32,SQ8", recall=0.5))
    made.update(np.arange(3000), drawn(3000, 0), NONE)
    made.settle()
    yield made
    made.close()


def search(index: SpaceIndex, query: Floats, allowed: npt.NDArray[np.int64] | None = None) -> set[int]:
    found = index.search(query, 10, allowed)[1][0]
    index._live_recall.close()  # Wait for the comparison.
    return set(found.tolist())


def test_it_is_the_mean_share_of_the_exact_ten_that_searches_found(index: SpaceIndex) -> None:
    allowed = np.arange(0, 3000, 2)
    shares = []
    for n, query in enumerate(drawn(20, 1)[:, np.newaxis]):
        kept = allowed if n % 2 else None
        exact = set(index.search(query, 10, kept, Effort.EXACT)[1][0].tolist())
        shares.append(len(search(index, query, kept) & exact) / 10)
    assert 0 < np.mean(shares) < 1
    assert index.recall == pytest.approx(np.mean(shares))


def test_searches_that_cannot_tell_are_left_out(index: SpaceIndex) -> None:
    query = drawn(1, 1)
    for k, effort in ((9, Effort.BALANCED), (10, Effort.SPEED), (10, Effort.ACCURACY), (10, Effort.EXACT)):
        index.search(query, k, effort=effort)
        index._live_recall.close()
        assert index.recall is None
    search(index, query)
    assert index.recall is not None


def test_a_new_index_starts_anew(index: SpaceIndex) -> None:
    search(index, drawn(1, 1))
    assert index.recall is not None
    index.update(NONE, np.empty((0, DIMENSION), np.float32), np.arange(0, 3000, 2))
    index.settle()
    assert index.recall is None


def test_an_exact_space_has_nothing_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "MAX_TIME_SHARE", 1e9)
    index = SpaceIndex(DIMENSION)
    index.update(np.arange(100), drawn(100, 0), NONE)
    search(index, drawn(1, 1))
    assert index.recall is None
    index.close()


def test_comparisons_leave_nearly_all_of_the_time_to_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 100.0, 102.0, 499.0, 503.0])
    monkeypatch.setattr(recall, "time", SimpleNamespace(monotonic=lambda: next(now)))
    live = LiveRecall("recall")
    places = np.arange(10)
    assert live.due()
    live.compare(places, lambda: places)  # Takes from 100 to 102 s: half a percent of 400.
    live.close()
    assert live.mean == 1
    assert not live.due()
    assert live.due()


def test_a_comparison_that_fails_is_logged_and_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> npt.NDArray[np.int64]:
        raise MemoryError

    live = LiveRecall("recall")
    live.compare(np.arange(10), fails)
    live.close()
    assert live.mean is None
    assert "could not be compared" in caplog.text
    live.compare(np.arange(10), lambda: np.arange(5, 15))
    live.close()
    assert live.mean == 0.5
