"""How much of the true nearest live searches find: now and then one is compared with exact search."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["RECALL_K", "LiveRecall"]

Places = npt.NDArray[np.int64]

RECALL_K = 10
# So few that not even the hundredth slowest search is slow because of them.
MAX_TIME_SHARE = 0.005
KEPT = 100

log = logging.getLogger(__name__)


class LiveRecall:
    """The recall@10 of the last hundred searches that were compared, each on a thread beside the searches.

    One is compared at a time, and the next one not before all of them together take `MAX_TIME_SHARE` of the
    time at most: what it costs does not depend on how many searches there are or how large the space is.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._shares: deque[float] = deque(maxlen=KEPT)
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0

    @property
    def mean(self) -> float | None:
        """The mean share of the exact ten nearest that were found; None where none was compared yet."""
        shares = list(self._shares)
        return float(np.mean(shares)) if shares else None

    def due(self) -> bool:
        """Whether a search that is done now should be compared."""
        return self._thread is None and time.monotonic() >= self._not_before

    def compare(self, found: Places, exact: Callable[[], Places]) -> None:
        """Compare a search, unless another one is being compared; returns at once.

        Args:
            found: up to ten places, -1 for none.
            exact: finds those that should have been found; called on another thread.
        """
        with self._beginning:
            if self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._compare, args=(found, exact, self._shares), name=self._name, daemon=True
            )
            self._thread.start()

    def forget(self) -> None:
        """Start anew, for another index serves."""
        self._shares = deque(maxlen=KEPT)

    def close(self) -> None:
        """Return when nothing is compared any more."""
        with self._beginning:
            # Or else one that has not begun yet might be waited for.
            thread = self._thread
        if thread is not None:
            thread.join()

    def _compare(self, found: Places, exact: Callable[[], Places], shares: deque[float]) -> None:
        begun = time.monotonic()
        try:
            wanted = set(exact().tolist()) - {-1}
            if wanted:
                shares.append(len(wanted & set(found.tolist())) / len(wanted))
        except Exception:
            log.exception("%s: a search could not be compared with exact search", self._name)
        finally:
            ended = time.monotonic()
            self._not_before = ended + (ended - begun) / MAX_TIME_SHARE
            self._thread = None
