"""Scores of candidates, and what their operands contributed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embeddb.options import Combine
from embeddb.search.ranking import Ranking
from embeddb.search.scoring import explain, score, unit_rows
from embeddb.search.sums import Query

D = 4
matrices = arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(D)), elements=st.floats(-1, 1))


@st.composite
def queries(draw: st.DrawFn) -> Query:
    operands = draw(matrices)
    operands[:, 0] += 2  # no operand is zero, and no sum of positive weights is
    weights = draw(arrays.arrays(np.float64, len(operands), elements=st.floats(-2, 2)))
    weights[0] = abs(weights[0]) + 0.5
    unit = unit_rows(operands)
    length = np.linalg.norm(weights @ unit)
    coefficients = weights / length if length > 1e-3 else 0 * weights
    return Query(weights, coefficients, unit, (coefficients @ unit).astype(np.float32))


@given(queries(), matrices)
def test_the_shares_of_a_sum_add_up_to_the_score(query: Query, items: np.ndarray) -> None:
    items = unit_rows(items)
    for value, shares in zip(
        score(query, items, Combine.SUM), explain(query, items, Combine.SUM), strict=True
    ):
        assert sum(each.share for each in shares) == pytest.approx(value, abs=1e-5)
        assert [each.weight for each in shares] == query.weights.tolist()


@given(queries(), matrices)
def test_the_shares_of_a_product_add_up_to_its_logarithm(query: Query, items: np.ndarray) -> None:
    items = unit_rows(items)
    scores = score(query, items, Combine.PRODUCT)
    for value, shares in zip(scores, explain(query, items, Combine.PRODUCT), strict=True):
        assert sum(each.share for each in shares) == pytest.approx(np.log(value), rel=1e-6, abs=1e-9)


@given(queries(), matrices)
def test_one_operand_decides_the_best_score(query: Query, items: np.ndarray) -> None:
    items = unit_rows(items)
    scores = score(query, items, Combine.BEST)
    for value, shares in zip(scores, explain(query, items, Combine.BEST), strict=True):
        liked = max(each.similarity for each in shares if each.weight > 0)
        disliked = max((each.similarity for each in shares if each.weight < 0), default=-np.inf)
        assert value == pytest.approx(liked if liked > disliked else -(disliked**2))
        assert [each.share for each in shares if each.share] in ([], [pytest.approx(value)])


def test_3_cos_mul_by_hand() -> None:
    """man : king :: woman : ?, with the similarities of Levy and Goldberg's formula written out."""
    man, king, woman = np.eye(D)[:3]
    items = unit_rows(np.array([[0.1, 0.7, 0.6, 0.1], [0.9, 0.4, 0.5, 0.1], [0.0, 1.0, 0.0, 0.0]]))
    query = Query(
        np.array([1.0, -1.0, 1.0]), np.zeros(3), np.stack([woman, man, king]), np.zeros(D, np.float32)
    )
    shifted = (1 + items) / 2 + 1e-3
    expected = shifted[:, 2] * shifted[:, 1] / shifted[:, 0]
    assert score(query, items, Combine.PRODUCT) == pytest.approx(expected)
    assert expected.argmax() == 0


def test_a_ranking_is_best_first_and_equals_go_by_age() -> None:
    rows = np.array([7, -1, 3, 9, 5])
    ranking = Ranking.best_first(rows, np.array([0.5, -np.inf, 0.5, 0.9, 0.1], np.float32))
    assert ranking.rows.tolist() == [9, 3, 7, 5]
    assert ranking.scores.tolist() == pytest.approx([0.9, 0.5, 0.5, 0.1])
    assert ranking.without({3, 4}).rows.tolist() == [9, 7, 5]
    assert ranking.without(set()) is ranking
    assert ranking.part(1, 3).rows.tolist() == [3, 7]
