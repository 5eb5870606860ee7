"""The mean vector of each modality in a space, which `Arithmetic.center` subtracts."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError
from embeddb.query import Modality
from embeddb.search.scoring import unit_rows
from embeddb.storage import CollectionStore

__all__ = ["Centre"]

Doubles = npt.NDArray[np.float64]

SAMPLE = 10_000
# The means are taken anew after this share of the space has changed: of a small space, after every write.
MAX_CHANGED_SHARE = 0.01


class Centre:
    """Means over up to `SAMPLE` items of a space, spread evenly over it. Thread-safe.

    Args:
        model: whose space.
        dimension: of the space's vectors.
        store: the collection's storage.
    """

    def __init__(self, model: str, dimension: int, store: CollectionStore) -> None:
        self._model = model
        self._dimension = dimension
        self._store = store
        self._taking = threading.Lock()
        # Only the thread of the commits writes this one, so that no commit waits for means to be taken.
        self._changes = 0
        self._changes_seen = -1
        self._size = 0
        self._means: dict[tuple[Modality | None, bool], Doubles] = {}

    def note(self, changed: int) -> None:
        """Count rows that a commit added or removed."""
        self._changes += changed

    def mean(self, modality: Modality | None, normalise: bool) -> Doubles:
        """The mean (d,) of a modality's vectors, at unit length each if `normalise`.

        None stands for items of features alone; zeros where there are none, for a vector may have any origin.

        Raises:
            FailedPreconditionError: the space has no item of that modality.
        """
        with self._taking:
            changes = self._changes
            if self._changes_seen < 0 or changes - self._changes_seen > MAX_CHANGED_SHARE * self._size:
                self._take()
                self._changes_seen = changes
            mean = self._means.get((modality, normalise))
        if mean is not None:
            return mean
        if modality is None:
            return np.zeros(self._dimension)
        raise FailedPreconditionError(
            f"center: the space of model {self._model!r} has no {modality} items whose mean could be "
            f"subtracted; put some there, or search without center"
        )

    def _take(self) -> None:
        self._means = {}
        self._size = 0
        sampled_rows, sampled = [], []
        stride = max(1, self._store.count() // SAMPLE)
        for rows, vectors in self._store.scan(self._model):
            places = np.arange(-self._size % stride, len(rows), stride)
            sampled_rows.append(rows[places])
            sampled.append(vectors[places])
            self._size += len(rows)
        if not sampled:
            return
        records = self._store.by_rows(np.concatenate(sampled_rows).tolist())
        modalities = np.array([None if each is None else each.modality for each in records], dtype=object)
        living = np.array([each is not None for each in records])
        vectors = np.concatenate(sampled).astype(np.float64)
        for modality in (*Modality, None):
            chosen = vectors[living & (modalities == modality)]
            if len(chosen):
                self._means[modality, True] = unit_rows(chosen).mean(axis=0)
                self._means[modality, False] = chosen.mean(axis=0)
