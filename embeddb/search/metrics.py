"""Rankings of a labelled gallery -> CMC, mean average precision and recall.

The protocol of Zheng et al., "Scalable Person Re-identification: A Benchmark" (ICCV 2015), Market-1501: what
shows the query's identity in the query's own camera is passed over, and queries without a match
do not count; where none has one, there is nothing to measure. Average precision is the mean of the precisions
at each match, as in Torchreid (Zhou & Xiang).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError
from embeddb.questions import Metrics

__all__ = ["metrics"]

Masks = npt.NDArray[np.bool_]


def metrics(matches: Sequence[Masks], gallery: int, ranks: Sequence[int]) -> Metrics:
    """Sum up the rankings of queries.

    Args:
        matches: of each query, which places of its ranking show its identity, best first.
        gallery: how many items were ranked, before any was passed over.
        ranks: the places to report.

    Raises:
        FailedPreconditionError: no query has a match.
    """
    counted = [each for each in matches if each.any()]
    if not counted:
        raise FailedPreconditionError(
            f"there is nothing to measure: of {len(matches):,} queries none has a match among the "
            f"{gallery:,} items of the gallery, another one of its identity, and of another camera where "
            f"cameras are told apart"
        )
    return Metrics(
        queries=len(counted),
        unmatched=len(matches) - len(counted),
        gallery=gallery,
        mean_average_precision=_mean([_average_precision(each) for each in counted]),
        cmc={rank: _mean([float(each[:rank].any()) for each in counted]) for rank in ranks},
        recall={rank: _mean([each[:rank].sum() / each.sum() for each in counted]) for rank in ranks},
    )


def _average_precision(matches: Masks) -> float:
    places = np.flatnonzero(matches)
    return float((np.arange(1, len(places) + 1) / (places + 1)).mean())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
