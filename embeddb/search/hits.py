"""Candidates -> hits: the best k of each query, without the rows that are left out."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

__all__ = ["choose"]


def choose(
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    left_out: Collection[int],
    k: int,
) -> list[tuple[int, float]]:
    """Choose one query's hits.

    Args:
        scores: (n,) float32, best first.
        rows: (n,) int64, -1 where nothing was found.
        left_out: rows that may not be hits.
        k: how many at most.

    Returns:
        Rows and scores, best first.
    """
    candidates = zip(rows.tolist(), scores.tolist(), strict=True)
    return [(row, score) for row, score in candidates if row >= 0 and row not in left_out][:k]
