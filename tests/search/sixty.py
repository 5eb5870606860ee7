"""Sixty vectors, and what a search of them finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embeddb.query import Hit
from tests.conftest import DIMENSION

STORED = np.random.default_rng(5).normal(size=(60, DIMENSION)).astype(np.float32)
UNIT = STORED / np.linalg.norm(STORED, axis=1, keepdims=True)


def found(hits: Sequence[Hit]) -> list[tuple[str, object]]:
    return [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in hits]


def best(scores: np.ndarray, k: int, left_out: tuple[int, ...] = ()) -> list[tuple[str, float]]:
    order = [n for n in np.argsort(-scores) if n not in left_out][:k]
    return [(str(n), float(scores[n])) for n in order]
