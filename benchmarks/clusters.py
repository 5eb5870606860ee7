"""Vectors as real features are: in clusters, and of fewer dimensions than they have numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

INTRINSIC = 30
CLUSTERS = 500


def make_data(dimension: int, rng: np.random.Generator) -> Callable[[int], Floats]:
    """Draws unit vectors from 500 clusters within a random subspace, with a little noise outside it.

    About 30 dimensions matter, so that approximate search behaves as on the features of real models; in
    vectors that are random in every dimension all are equally far apart, and no index finds anything.
    """
    basis = rng.normal(size=(INTRINSIC, dimension)).astype(np.float32)
    centres = rng.normal(size=(CLUSTERS, INTRINSIC)).astype(np.float32)

    def draw(count: int) -> Floats:
        inside = centres[rng.integers(CLUSTERS, size=count)] + rng.normal(size=(count, INTRINSIC))
        vectors = inside.astype(np.float32) @ basis + rng.normal(size=(count, dimension)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return draw
