"""Candidates -> an order in which they differ from one another (see `embeddb.options.Diversify`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["diversify"]

Doubles = npt.NDArray[np.float64]


def diversify(scores: Doubles, items: Doubles, weight: float) -> npt.NDArray[np.intp]:
    """Choose candidates one after another.

    Args:
        scores: (n,), best first.
        items: (n, d) of unit length.
        weight: of the score, 0 to 1.

    Returns:
        The places of all of them, in the order chosen, (n,).
    """
    order = np.empty(len(scores), np.intp)
    likest = np.full(len(scores), -np.inf)
    gains = scores.copy()
    for turn in range(len(order)):
        order[turn] = gains.argmax()
        likest = np.maximum(likest, items @ items[order[turn]])
        gains = weight * scores - (1 - weight) * likest
        gains[order[: turn + 1]] = -np.inf
    return order
