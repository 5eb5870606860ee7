"""Thresholds from labelled vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embeddb.errors import FailedPreconditionError
from embeddb.search import verification
from embeddb.search.fields import field_value
from embeddb.search.scoring import unit_rows
from embeddb.search.verification import calibrate


def at(*degrees: float) -> np.ndarray:
    """Vectors at angles, so that the cosine of two of them is that of the angle between."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_case_worked_out_by_hand() -> None:
    """Angles within a: 10 30 20; within b: 25; across: 25 50, 35 60, 55 80 in that order of the items."""
    vectors, labels = at(0, 10, 30, -25, -50), ["a", "a", "a", "b", "b"]
    found = calibrate(vectors, labels, false_accept_rate=1 / 6)
    assert (found.items, found.same_pairs, found.different_pairs) == (5, 4, 6)
    # At 30 degrees none of the same is refused and one of six different pairs (25) is taken; at 25, one of
    # four is refused and one of six taken, and nowhere do the two rates come nearer to each other.
    assert found.equal_error_threshold == pytest.approx(np.cos(np.radians(25)))
    assert found.equal_error_rate == pytest.approx((1 / 4 + 1 / 6) / 2)
    # One of six may be taken: all below the second likest of them, 35 degrees.
    assert np.cos(np.radians(35)) < found.threshold < np.cos(np.radians(34.99))
    assert found.false_accept_rate == pytest.approx(1 / 6)
    assert found.false_reject_rate == 0


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    labels = draw(st.lists(st.integers(0, 3), min_size=4, max_size=12))
    labels[:3] = [0, 0, 1]
    shape = (len(labels), 3)
    return unit_rows(draw(arrays.arrays(np.float64, shape, elements=st.floats(-1, 1)))), labels


@given(labelled(), st.floats(0, 1))
def test_a_threshold_keeps_to_its_rate_and_none_lower_does(
    case: tuple[np.ndarray, list[int]], rate: float
) -> None:
    vectors, labels = case
    found = calibrate(vectors, labels, rate)
    single = vectors.astype(np.float32)
    similarities = np.clip(single @ single.T, -1, 1)
    different = np.array(
        [similarities[i, j] for i in range(len(labels)) for j in range(i) if labels[i] != labels[j]]
    )
    assert found.false_accept_rate <= rate + 1e-9
    next_lower = max((s for s in different if s < found.threshold), default=None)
    if next_lower is not None:
        assert (different >= next_lower - 1e-6).mean() > rate - 1e-9


@given(labelled())
def test_blocks_make_no_difference(case: tuple[np.ndarray, list[int]]) -> None:
    whole = calibrate(*case, 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "BLOCK", 2)
        in_blocks = calibrate(*case, 0.1)
    assert vars(in_blocks) == pytest.approx(vars(whole), abs=1e-6)


def test_it_needs_pairs_of_both_kinds() -> None:
    with pytest.raises(FailedPreconditionError, match="give 1 and 0"):
        calibrate(at(0, 1), ["a", "a"], 0.1)
    with pytest.raises(FailedPreconditionError, match="give 0 and 1"):
        calibrate(at(0, 1), ["a", "b"], 0.1)
    with pytest.raises(FailedPreconditionError, match="0 labelled items give 0 and 0"):
        calibrate(np.empty((0, 2)), [], 0.1)


@pytest.mark.parametrize(
    ("metadata", "path", "value"),
    [
        ({"a": 1}, "a", 1),
        ({"a": {"b": {"c": "x"}}}, "a.b.c", "x"),
        ({"a.b": 2, "a": {"b": 3}}, "a.b", 2),
        ({"a": 1}, "b", None),
        ({"a": 1}, "a.b", None),
        ({"a": [1]}, "a", None),
        ({"a": {"b": 1}}, "a", None),
    ],
)
def test_the_value_of_a_field(metadata: dict[str, object], path: str, value: object) -> None:
    assert field_value(metadata, path) == value
