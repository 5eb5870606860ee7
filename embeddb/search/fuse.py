"""Rankings of several spaces -> one (see `embeddb.options.Fusion`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embeddb.options import FusionMethod
from embeddb.search.ranking import Ranking

__all__ = ["fuse"]

Doubles = npt.NDArray[np.float64]

# The constant of Cormack, Clarke and Büttcher, which keeps the first places from deciding alone.
_RANK_OFFSET = 60


def fuse(rankings: Sequence[Ranking], method: FusionMethod, weights: Sequence[float]) -> Ranking:
    """Fuse rankings of the same items.

    Args:
        rankings: one a space.
        method: any but side by side.
        weights: one a space.
    """
    rows = np.unique(np.concatenate([ranking.rows for ranking in rankings]))
    scores = np.zeros(len(rows))
    for ranking, weight in zip(rankings, weights, strict=True):
        values, missing = _values(ranking, method)
        own = np.full(len(rows), missing)
        own[np.searchsorted(rows, ranking.rows)] = values
        scores += weight * own
    return Ranking.best_first(rows, scores)


def _values(ranking: Ranking, method: FusionMethod) -> tuple[Doubles, float]:
    """What each candidate is worth in its space, and what one is worth that the space did not find."""
    if not len(ranking):
        return ranking.scores, 0.0
    if method is FusionMethod.RANK:
        return 1 / (_RANK_OFFSET + 1.0 + np.arange(len(ranking))), 0.0
    scores = ranking.scores
    if method is FusionMethod.MIN_MAX:
        origin, unit = scores.min(), scores.max() - scores.min()
    else:
        origin, unit = scores.mean(), scores.std()
    # Where all score alike, the space has no opinion.
    values = (scores - origin) / unit if unit > 0 else np.zeros(len(scores))
    return values, float(values.min())
