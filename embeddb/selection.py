"""Which rows of a collection a filter keeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence, Set

import numpy as np
import numpy.typing as npt

from embeddb.search.columns import Attributes, Columns
from embeddb.search.filter import parse
from embeddb.search.matching import matching
from embeddb.storage import CollectionStore, Record

__all__ = ["Selection"]

BATCH_RECORDS = 1024
# The columns keep what was deleted until that is so many times what lives; then they are made anew.
MAX_DEAD_SHARE = 0.5


class Selection:
    """Answers filters. Thread-safe.

    What items say of themselves is held in columns. They are made by the first filter and catch up with
    storage at each one, so that a collection that nobody filters pays nothing. Rows come in the order of
    writes and are never changed, so to catch up is to read on from the last row.

    Args:
        store: the collection's storage.
        models: says which are the collection's models. What a dropped one predicted stays in the records, and
            no filter sees it.
    """

    def __init__(self, store: CollectionStore, models: Callable[[], Iterable[str]]) -> None:
        self._store = store
        self._models = models
        self._seen: Set[str] = frozenset()
        self._lock = threading.Lock()
        self._columns = Columns()

    def rows(self, text: str) -> npt.NDArray[np.int64]:
        """The rows of the items that satisfy a filter, ascending; some of them may be dead.

        Raises:
            InvalidArgumentError: the text is no filter, or compares a field with a kind of value that it
                never has.
        """
        condition = parse(text)
        with self._lock:
            models = frozenset(self._models())
            if models != self._seen:
                self._columns, self._seen = Columns(), models
            self._catch_up()
            return matching(condition, self._columns, text)

    def allowed(self, text: str) -> npt.NDArray[np.int64] | None:
        """The rows that a question may look at: those of `rows`, or None for all where there is no filter."""
        return self.rows(text) if text else None

    def _catch_up(self) -> None:
        while records := self._store.records_after(self._columns.last_row, BATCH_RECORDS):
            self._columns.append(_attributes(records, self._seen))
        if self._store.count() < (1 - MAX_DEAD_SHARE) * len(self._columns):
            self._columns = Columns()
            self._catch_up()


def _attributes(records: Sequence[Record], models: Set[str]) -> list[Attributes]:
    # In one call, which is three times as fast as one a record.
    metadata = json.loads(f"[{','.join(record.metadata_json for record in records)}]")
    modalities = [None if record.modality is None else record.modality.value for record in records]
    return [
        Attributes(
            record.row,
            modality,
            parsed,
            {m: p for m, p in record.predictions.items() if m in models} if record.predictions_json else {},
        )
        for record, modality, parsed in zip(records, modalities, metadata, strict=True)
    ]
