"""k-reciprocal re-ranking, against the paper's definitions written out with sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.options import KReciprocal
from embeddb.search.reciprocal import reciprocal_distances
from embeddb.search.scoring import unit_rows


def by_definition(query: np.ndarray, items: np.ndarray, parameters: KReciprocal) -> np.ndarray:
    """Equations 2 to 12 of Zhong et al. (CVPR 2017), one element at a time."""
    points = np.vstack([query, items])
    n = len(points)
    squared = np.array([[np.sum((a - b) ** 2) for b in points] for a in points])
    # The authors' code divides the squared distances by the largest one of each probe.
    distance = squared / squared.max(axis=1, keepdims=True)
    ranked = [sorted(range(n), key=lambda j, i=i: (distance[i, j], j)) for i in range(n)]

    def nearest(i: int, k: int) -> set[int]:  # N(p, k), with p itself
        return set(ranked[i][: k + 1])

    def reciprocal(i: int, k: int) -> set[int]:  # equation 3
        return {j for j in nearest(i, k) if i in nearest(j, k)}

    def expanded(i: int) -> set[int]:  # equation 4
        own = reciprocal(i, parameters.k1)
        result = set(own)
        for j in own:
            other = reciprocal(j, round(parameters.k1 / 2))
            if len(own & other) > 2 / 3 * len(other):
                result |= other
        return result

    encoding = np.zeros((n, n))  # equation 7, each row summing to 1 as in the authors' code
    for i in range(n):
        for j in expanded(i):
            encoding[i, j] = np.exp(-distance[i, j])
        encoding[i] /= encoding[i].sum()
    averaged = np.stack([encoding[ranked[i][: parameters.k2]].mean(axis=0) for i in range(n)])  # equation 11
    final = []
    for i in range(1, n):
        smaller = np.minimum(averaged[0], averaged[i]).sum()
        larger = np.maximum(averaged[0], averaged[i]).sum()
        jaccard = 1 - smaller / larger  # equation 10
        final.append((1 - parameters.weight) * jaccard + parameters.weight * distance[0, i])  # equation 12
    return np.array(final)


@given(
    st.integers(2, 25),
    st.integers(0, 1000),
    st.integers(1, 20),
    st.integers(1, 6),
    st.sampled_from([0, 0.3, 1]),
)
def test_it_is_the_paper(n: int, seed: int, k1: int, k2: int, weight: float) -> None:
    points = unit_rows(np.random.default_rng(seed).normal(size=(n + 1, 3)))
    parameters = KReciprocal(k1, min(k1, k2), weight)
    found = reciprocal_distances(points[0], points[1:], parameters)
    assert found == pytest.approx(by_definition(points[0], points[1:], parameters), abs=1e-6)


def test_equal_points_are_at_no_distance() -> None:
    point = np.array([1.0, 0.0])
    assert reciprocal_distances(point, np.stack([point]), KReciprocal()) == pytest.approx([0])


def test_it_gives_what_the_authors_code_gives() -> None:
    """Points of a circle and the distances that the authors' published code prints for them (k1 3, k2 2)."""
    angles = np.radians([0, -58, -33, -11, 18, -34, -19, -43, -59])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    distances = reciprocal_distances(points[0], points[1:], KReciprocal(k1=3, k2=2, weight=0.3))
    theirs = [0.990794, 0.736257, 0.389861, 0.383821, 0.742216, 0.412198, 0.822362, 1.0]
    assert distances == pytest.approx(theirs, abs=1e-6)
    # The nearest point has other friends, and goes second.
    assert (points[1:] @ points[0]).argmax() == 2
    assert distances.argmin() == 3
