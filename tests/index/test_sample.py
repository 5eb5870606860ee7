"""What of a sample's nearest is found, beside the definition: sets, query by query."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embeddb.index.sample import ERRORS, Sample
from embeddb.index.vectors import Vectors
from embeddb.query import Metric

Places = npt.NDArray[np.int64]

QUERIES = 3


@st.composite
def rankings(draw: st.DrawFn, size: int) -> Places:
    """Distinct places, and -1 where there are no more."""
    some = st.lists(st.integers(0, 12), unique=True, max_size=size)
    rows = [draw(some) for _ in range(QUERIES)]
    return np.array([row + [-1] * (size - len(row)) for row in rows], np.int64)


@given(
    rankings(6),
    rankings(8),
    arrays(np.int64, QUERIES, elements=st.integers(-1, 12)),
    st.integers(1, 5),
    st.data(),
)
def test_recall_is_the_share_of_the_nearest_without_the_query_that_are_among_the_first(
    exact: Places, found: Places, left_out: Places, k: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, 20))
    sample = Sample(np.zeros((QUERIES, 2), np.float32), left_out, exact)
    shares = []
    for number in range(QUERIES):
        wanted = set(exact[number, : k + 1].tolist()) - {-1, int(left_out[number])}
        hits = wanted & set(found[number, :size].tolist())
        shares.append(len(hits) / len(wanted) if wanted else 1.0)
    expected = np.mean(shares) - ERRORS * np.std(shares) / np.sqrt(QUERIES)
    assert sample.recall(sample.ranks(found), k, size) == pytest.approx(expected)


@pytest.mark.parametrize("graph", [False, True])
def test_queries_are_living_items_or_beside_them(graph: bool) -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    space = Vectors(Metric.COSINE, 8, np.dtype(np.float32))
    space.append(np.arange(3000), vectors)
    space.bury(np.arange(0, 3000, 2))
    sample = Sample.draw(space.moment(), graph, 100, 20)
    assert sample.exact.shape == (100, 21)
    assert (sample.exact % 2 == 1).all()
    itself = (sample.exact[:, 0] == sample.left_out) & (sample.left_out >= 0)
    assert itself.all() != graph
    scores = sample.queries @ vectors[1::2].T
    np.testing.assert_array_equal(sample.exact[:, 0], 2 * scores.argmax(axis=1) + 1)
