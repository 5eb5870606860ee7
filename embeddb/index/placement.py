"""What of a space's index is put on a GPU, and when."""

from __future__ import annotations

import logging
from collections.abc import Callable

from embeddb.index.contents import Contents, State
from embeddb.index.gpu import FAULTS, Gpu
from embeddb.index.policy import IndexPolicy
from embeddb.index.recall import LiveRecall

__all__ = ["Placement"]

# What found no room is tried again when there are so many times as many places.
RETRY_GROWTH = 2.0
# Fewer are scanned by the processor in about the time that a GPU takes to start a search's kernels.
LEAST_PLACED = 10_000

log = logging.getLogger(__name__)


class Placement:
    """Puts codes of all places on a GPU, or else a copy of the approximate index; for the thread of upkeep.

    Args:
        gpu: where to put them, as far as it has room.
        contents: of the index.
        policy: whether the exact scan, which reads the codes, may serve.
        live_recall: starts anew when another scan serves.
        name: in the log.
        failed: is called when a copy of the index has failed, and is there no more.
    """

    def __init__(
        self,
        gpu: Gpu,
        contents: Contents,
        policy: IndexPolicy,
        live_recall: LiveRecall,
        name: str,
        failed: Callable[[], None],
    ) -> None:
        self._gpu = gpu
        self._contents = contents
        self._policy = policy
        self._live_recall = live_recall
        self._name = name
        self._failed = failed
        # How many places there must be before codes, or a copy of the index, are put there, or tried again.
        self._codes_at = LEAST_PLACED
        self._copy_at = 0

    @property
    def rest_left(self) -> float:
        """For how many seconds the GPU rests after a fault; until then nothing is put there."""
        return self._gpu.rest_left

    def due(self, state: State) -> Callable[[], None] | None:
        """What has to be put on the GPU once it does not rest; None if nothing."""
        count, approximate = len(state.moment), state.approximate
        if state.codes.gpu is None and self._policy.allows_exact and count >= self._codes_at:
            return self._place_codes
        if approximate is None or approximate.copy.gpu is not None:
            return None
        return self._place_copy if count >= self._copy_at else None

    def _place_codes(self) -> None:
        """Put codes of all places on the GPU; where it has no room, later, among twice as many."""
        count = len(self._contents.state.moment)
        try:
            self._contents.place(self._gpu)
        except FAULTS as error:
            log.warning("%s: %d codes are not put on %s: %s", self._name, count, self._gpu, error)
            self._codes_at = int(RETRY_GROWTH * count)
            return
        log.info("%s: %d codes are on %s", self._name, count, self._gpu)
        self._live_recall.forget()

    def _place_copy(self) -> None:
        """Put a copy of the approximate index on the GPU; where that cannot be, as with codes."""
        state = self._contents.state
        approximate = state.approximate
        assert approximate is not None
        try:
            approximate.copy.place(approximate.index, self._gpu, self._failed)
        except FAULTS as error:
            log.warning("%s: %s is not put on %s: %s", self._name, approximate.factory, self._gpu, error)
            self._copy_at = int(RETRY_GROWTH * len(state.moment))
            return
        log.info("%s: %s", self._name, approximate.describe(self._policy.recall))
