"""Room for vectors to come, which costs no copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.index import vectors
from embeddb.index.vectors import CHEAP_BYTES, GROWTH, MOST_BYTES, Vectors, grown, roomy
from embeddb.query import Metric

DIMENSION = 4


@given(st.integers(1, 10**9), st.integers(1, 10**5))
def test_there_is_room_for_more_than_is_needed_and_hardly_ever_again(needed: int, size: int) -> None:
    room = grown(needed, size)
    if needed * size < CHEAP_BYTES:
        assert needed < room <= 4 * needed
        assert (room - needed) * size <= CHEAP_BYTES
    else:
        assert room >= int(GROWTH * needed)
        assert room * size <= max(MOST_BYTES, GROWTH * needed * size)
        assert room * size > MOST_BYTES - size


def filled(metric: Metric, count: int) -> Vectors:
    """As many vectors, one after the other, that are their own numbers."""
    filled = Vectors(metric, DIMENSION, np.float32)
    for row in range(count):
        filled.append(np.array([row]), np.full((1, DIMENSION), float(row), np.float32))
    return filled


@pytest.mark.parametrize("metric", [Metric.INNER_PRODUCT, Metric.L2])
def test_beyond_so_much_nothing_is_copied_again(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 4 * DIMENSION
    monkeypatch.setattr(vectors, "FIRST_CAPACITY", 4)
    monkeypatch.setattr(vectors, "CHEAP_BYTES", 100 * size)
    monkeypatch.setattr(vectors, "MOST_BYTES", 1000 * size)
    grows = filled(metric, 200)
    early, bias = grows.moment(), grows.moment().bias
    grows.bury(np.array([7]))
    for row in range(200, 1000):
        grows.append(np.array([row]), np.full((1, DIMENSION), float(row), np.float32))
    now = grows.moment()
    assert np.shares_memory(early.kept, now.kept)
    assert bias is None or (now.bias is not None and np.shares_memory(bias, now.bias))
    assert (now.kept[:, 0] == np.arange(1000)).all()
    np.testing.assert_array_equal(now.living_places(), np.delete(np.arange(1000), 7))
    np.testing.assert_array_equal(early.living_places(), np.arange(200))
    # What has only room is passed over by whoever reads the marks.
    assert len(early.living.bits) == 200 // 8 + 1


def test_where_so_much_is_refused_there_is_room_for_half_as_many_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vectors, "grown", lambda needed, size: 1 << 58)
    assert roomy(100, DIMENSION, np.float32).shape == (150, DIMENSION)
    grows = filled(Metric.INNER_PRODUCT, 2000)
    assert (grows.moment().kept[:, 0] == np.arange(2000)).all()
