"""What is read off what was measured: efforts between those that were tried, and for hits between."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.index.tuned import Measured, Point, Tuned
from embeddb.index.tuning import read_off

LISTS = 200
HITS = (10, 20, 50, 100, 200, 500, 1000)


def tuned(*efforts: int) -> Tuned:
    """Tuned, with the efforts that give 0.95 of ten hits, of twenty and so on."""
    measured = [
        Measured(k, [Point(1, 0.0), Point(max(effort, 2), 0.95)], (1.5, 5))
        for k, effort in zip(HITS, efforts, strict=False)
    ]
    return Tuned(measured, 10_000, 0.1, 10_000, 0.1)


@given(
    st.lists(st.floats(0.0, 1.0), min_size=LISTS, max_size=LISTS),
    st.sets(st.integers(1, LISTS), min_size=1, max_size=8),
    st.floats(0.01, 1.0),
)
def test_where_each_list_has_less_than_the_one_before_what_is_read_off_is_enough(
    shares: list[float], tried: set[int], recall: float
) -> None:
    found = np.cumsum(sorted(shares, reverse=True)) / LISTS
    curve = [Point(effort, float(found[effort - 1])) for effort in sorted(tried)]
    read = read_off(curve, recall)
    if curve[-1].recall < recall:
        assert read == curve[-1]
        return
    assert found[read.effort - 1] >= recall - 1e-9
    assert read.recall >= recall
    assert all(each.effort < read.effort for each in curve if each.recall < recall)
    assert all(each.effort >= read.effort for each in curve if each.recall >= recall)


@given(st.lists(st.integers(2, 4000), min_size=2, max_size=len(HITS)))
def test_more_hits_never_take_less_effort(efforts: list[int]) -> None:
    index = tuned(*efforts)
    asked = [index.effort(0.95, k) for k in range(1, 1200)]
    assert asked == sorted(asked)
    for k, effort in zip(HITS, accumulate(efforts, max), strict=False):
        assert index.effort(0.95, k) == index.effort(0.95, k + 1) == effort


def test_efforts_between_follow_a_power_of_the_hits_as_long_as_they_do_not_jump() -> None:
    assert tuned(34, 46, 70, 96).effort(0.95, 30) == pytest.approx(55, abs=1)
    # Twenty of each cluster are alike, and the next ones are anywhere.
    assert [tuned(4, 4, 250, 300).effort(0.95, k) for k in (12, 21, 22, 50)] == [4, 4, 250, 250]
