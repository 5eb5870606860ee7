"""A copy of an approximate index on a GPU, which answers what it can for as long as it is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.index.faiss_search import faiss_search
from embeddb.index.gpu import FAULTS, Gpu

__all__ = ["GpuCopy"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

log = logging.getLogger(__name__)


class GpuCopy:
    """Where a copy may be: there is none before it is placed, nor after it has failed. Thread-safe.

    Args:
        name: of the index, in the log.

    Attributes:
        gpu: where the copy is; None where there is none.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.gpu: Gpu | None = None
        self._index: faiss.Index | None = None
        self._failed: Callable[[], None] = lambda: None
        # On a GPU not even two searches may run at the same time.
        self._lock = threading.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a search would have to wait, at this moment."""
        return self._lock.locked()

    def place(self, index: faiss.Index, gpu: Gpu, failed: Callable[[], None]) -> None:
        """Put a copy of an index on a GPU; to be called on the thread that adds to both.

        Args:
            failed: is called when the copy has failed, and is there no more.

        Raises:
            FAULTS: there is no copy.
        """
        copy = gpu.copy(index)
        with self._lock:
            self._index, self.gpu, self._failed = copy, gpu, failed

    def leave(self) -> None:
        """Give up the copy, if there is one."""
        with self._lock:
            self._index = self.gpu = None

    def search(self, queries: Floats, size: int, parameters: Any) -> Places | None:
        """The nearest (q, size) int64 of queries (q, d), -1 for none; None where there is no copy.

        Vectors may be among them that the index itself is only about to have.
        """
        if self._index is None:
            return None
        with self._lock:
            # It may have gone while this thread waited.
            if (index := self._index) is None:
                return None
            try:
                return faiss_search(index, queries, size, parameters)[1]
            except FAULTS as error:
                self._drop(error)
                return None

    def add(self, vectors: Floats, ids: Places) -> None:
        """Add vectors (n, d) to the copy, if there is one."""
        with self._lock:
            if self._index is None:
                return
            try:
                self._index.add_with_ids(vectors, ids)
            except FAULTS as error:
                self._drop(error)

    def _drop(self, error: Exception) -> None:
        log.warning("%s: %s failed, and the processor serves: %s", self._name, self.gpu, error)
        if self.gpu is not None:
            self.gpu.rest()
        self._index = self.gpu = None
        self._failed()
