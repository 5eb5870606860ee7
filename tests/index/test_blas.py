"""FAISS's setting of the whole process is left to the program."""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
import pytest

from embeddb.index import IndexPolicy, SpaceIndex, prefer_products
from embeddb.query import Metric

THEIRS = 77_777


@pytest.fixture(autouse=True)
def theirs() -> Iterator[None]:
    """Somebody else's choice."""
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = THEIRS
    yield
    faiss.cvar.distance_compute_blas_threshold = before


def test_an_index_does_not_choose_for_others() -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    index = SpaceIndex(16, Metric.L2, IndexPolicy("IVF32,SQ8", 0.9))
    index.update(np.arange(len(vectors)), vectors, np.empty(0, np.int64))
    index.settle()
    assert repr(index).startswith("IVF32,SQ8")
    index.search(vectors[:64], 5)
    index.close()
    assert faiss.cvar.distance_compute_blas_threshold == THEIRS


def test_a_program_may() -> None:
    prefer_products()
    assert faiss.cvar.distance_compute_blas_threshold == 4096
