"""Predictions from similarities and from neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embeddb.query import Prediction
from embeddb.search.classify import probabilities, vote


def test_probabilities_are_a_softmax_or_a_sigmoid() -> None:
    similarities = np.array([[0.3, 0.2, -0.1], [1.0, 1.0, 1.0]])
    exact = torch.from_numpy(similarities)
    assert probabilities(similarities, 100.0, None) == pytest.approx((100 * exact).softmax(1).numpy())
    assert probabilities(similarities, 10.0, -2.0) == pytest.approx((10 * exact - 2).sigmoid().numpy())
    assert probabilities(similarities, 1e6, None).sum(axis=1) == pytest.approx([1, 1])


def test_each_neighbour_has_a_vote() -> None:
    found = vote(["a", "b", "b", 1, True], [0.9, 0.8, 0.7, 0.6, 0.5], None)
    assert found == [
        Prediction("b", pytest.approx(0.4)),
        Prediction("a", pytest.approx(0.2)),
        Prediction("1", pytest.approx(0.2)),
        Prediction("True", pytest.approx(0.2)),
    ]
    assert vote([], [], None) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1, 1)), min_size=1, max_size=8), st.floats(1e-3, 10)
)
def test_nearer_neighbours_have_more_votes(neighbours: list[tuple[str, float]], temperature: float) -> None:
    neighbours.sort(key=lambda each: -each[1])
    labels, similarities = zip(*neighbours, strict=True)
    found = {each.label: each.score for each in vote(labels, similarities, temperature)}
    weights = (torch.tensor(similarities, dtype=torch.float64) / temperature).softmax(0).tolist()
    expected = {
        label: sum(w for own, w in zip(labels, weights, strict=True) if own == label) for label in labels
    }
    assert found == pytest.approx(expected, abs=1e-9)
