"""CMC, mAP and recall, against cases worked out by hand and the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from embeddb.errors import FailedPreconditionError
from embeddb.search.metrics import metrics


def matches(*rows: str) -> list[np.ndarray]:
    return [np.array([letter == "x" for letter in row], np.bool_) for row in rows]


def test_a_case_worked_out_by_hand() -> None:
    """Matches at places 1 and 3; at 2; and a query that has none, which does not count."""
    found = metrics(matches("x.x..", ".x...", "....."), gallery=5, ranks=(1, 2, 3))
    assert (found.queries, found.unmatched, found.gallery) == (2, 1, 5)
    assert found.mean_average_precision == pytest.approx(((1 / 1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert found.cmc == {1: 0.5, 2: 1.0, 3: 1.0}
    assert found.recall == {1: 0.25, 2: 0.75, 3: 1.0}


def test_queries_of_which_none_has_a_match_measure_nothing() -> None:
    with pytest.raises(FailedPreconditionError, match="of 2 queries none has a match among the 3 items"):
        metrics(matches("...", ""), gallery=3, ranks=(1,))


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=12).filter(any), min_size=1, max_size=5))
def test_it_is_the_mean_of_average_precisions(rows: list[list[bool]]) -> None:
    found = metrics([np.array(row, np.bool_) for row in rows], gallery=12, ranks=(1, 5))
    expected = np.mean([average_precision_score(row, -np.arange(len(row))) for row in rows])
    assert found.mean_average_precision == pytest.approx(expected)
    assert found.cmc[5] == pytest.approx(np.mean([any(row[:5]) for row in rows]))
