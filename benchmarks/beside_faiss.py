"""A space's index beside FAISS's own search of it: the same index, the same parameters, in turns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embeddb.index import SpaceIndex

K = 10
Floats = npt.NDArray[np.float32]


def bare(index: SpaceIndex) -> Callable[[Floats], object]:
    """FAISS's own search of the approximate index that serves, with the parameters that it serves with."""
    approximate = index._contents.state.approximate
    assert approximate is not None
    effort = approximate.tuned.least(0.95).effort
    parameters = approximate._parameters(effort, K, None)
    return lambda queries: approximate.index.search(queries, K, params=parameters)
