"""Codes that are looked up: nearly as near as the nearest centroids, and those where cells are small."""

from __future__ import annotations

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddb.index.grid import CELLS, MARGIN, Grid

Floats = npt.NDArray[np.float32]
PAIRS = 5


def quantizer(centroids: Floats) -> faiss.ProductQuantizer:
    """One with these centroids (PAIRS, 16, 2)."""
    made = faiss.ProductQuantizer(2 * PAIRS, PAIRS, 4)
    faiss.copy_array_to_vector(centroids.astype(np.float32).ravel(), made.centroids)
    return made


def distances(vectors: Floats, centroids: Floats) -> npt.NDArray[np.float64]:
    """Those of each pair of numbers to each of its centroids, (n, PAIRS, 16)."""
    pairs = vectors.reshape(-1, PAIRS, 1, 2).astype(np.float64)
    found: npt.NDArray[np.float64] = np.linalg.norm(pairs - centroids, axis=-1)
    return found


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-4, 1.0, 1e4]), shift=st.floats(-2, 2))
@settings(max_examples=50, deadline=None)
def test_no_centroid_is_nearer_by_more_than_a_cell_is_wide(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    centroids = (scale * (shift + rng.normal(size=(PAIRS, 16, 2)))).astype(np.float32)
    least, most = centroids.min(axis=1), centroids.max(axis=1)
    inside = least - MARGIN * (most - least), most + MARGIN * (most - least)
    vectors = rng.uniform(*inside, size=(300, PAIRS, 2)).reshape(300, -1).astype(np.float32)
    known = distances(vectors, centroids)
    codes = Grid(quantizer(centroids)).codes(vectors)
    found = np.take_along_axis(known, codes[..., np.newaxis].astype(np.int64), 2)[..., 0]
    diagonal = np.linalg.norm((1 + 2 * MARGIN) * (most - least) / CELLS, axis=-1)
    assert (found <= known.min(axis=2) + 1.001 * diagonal).all()
    assert np.square(found).sum() < 1.02 * np.square(known.min(axis=2)).sum()


def test_what_lies_far_outside_has_a_code_too() -> None:
    centroids = np.random.default_rng(0).normal(size=(PAIRS, 16, 2)).astype(np.float32)
    far = np.full((1, 2 * PAIRS), 1e15, np.float32)
    codes = Grid(quantizer(centroids)).codes(np.concatenate([far, -far]))
    assert codes.max() < 16
    assert (codes[0] != codes[1]).all()


def test_centroids_in_one_place_are_one_code() -> None:
    """As where all vectors that an index was trained on are alike in some dimensions."""
    centroids = np.random.default_rng(0).normal(size=(PAIRS, 16, 2)).astype(np.float32)
    centroids[1, :, 0] = centroids[2] = 3.0
    grid = Grid(quantizer(centroids))
    vectors = centroids[:, 7].reshape(1, -1)
    codes = grid.codes(vectors)[0]
    assert codes[[0, 3, 4]].tolist() == [7, 7, 7]
    assert np.abs(centroids[1, codes[1]] - centroids[1, 7]).max() < 0.1


def test_centroids_so_near_that_one_over_their_distance_is_no_float_have_cells() -> None:
    centroids = np.random.default_rng(0).normal(size=(PAIRS, 16, 2)).astype(np.float32)
    centroids[0, :, 1] *= np.float32(1e-40)
    codes = Grid(quantizer(centroids)).codes(centroids[:, 7].reshape(1, -1))[0]
    assert np.abs(centroids[0, codes[0]] - centroids[0, 7]).max() < 0.1


@pytest.mark.parametrize(("pairs", "fits"), [(10, True), (5, False), (20, False)])
def test_only_pairs_fit(pairs: int, fits: bool) -> None:
    assert Grid.fits(faiss.ProductQuantizer(20, pairs, 4)) == fits
