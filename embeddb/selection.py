"""Which rows of a collection a filter keeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence, Set

import numpy as np
import numpy.typing as npt

from embeddb.errors import InvalidArgumentError
from embeddb.kept_columns import KeptColumns
from embeddb.search.columns import Attributes, Columns
from embeddb.search.filter import Condition, comparisons, parse
from embeddb.search.ids import with_rows
from embeddb.search.matching import matching
from embeddb.storage import CollectionStore, Record

__all__ = ["Selection"]

BATCH_RECORDS = 1024
# The columns keep what was deleted until that is so many times what lives; then they are made anew.
MAX_DEAD_SHARE = 0.5
# Columns are kept for the next start when they are made, when they have grown by so much, and at the end; but
# not those of fewer items than this, which are soon made.
MAX_UNKEPT_GROWTH = 1.25
MIN_KEPT = BATCH_RECORDS


class Selection:
    """Answers filters. Thread-safe.

    What items say of themselves is held in columns. The first filter makes them, or takes up those that were
    kept when the collection was open before, and each one catches up with storage, so that a collection that
    nobody filters pays nothing. Rows come in the order of writes and are never changed, so to catch up is to
    read on from the last row.

    Args:
        store: the collection's storage.
        models: says which are the collection's models. What a dropped one predicted stays in the records, and
            no filter sees it.
    """

    def __init__(self, store: CollectionStore, models: Callable[[], Iterable[str]]) -> None:
        self._store = store
        self._models = models
        self._seen: Set[str] | None = None
        self._lock = threading.Lock()
        self._file = KeptColumns(store)
        self._columns = Columns()
        self._kept = 0

    def rows(self, text: str) -> npt.NDArray[np.int64]:
        """The rows of the items that satisfy a filter, ascending; some of them may be dead.

        Raises:
            InvalidArgumentError: the text is no filter, asks for predictions of a model that the collection
                does not have, or compares a field with a kind of value that it never has.
        """
        condition = parse(text)
        with self._lock:
            models = frozenset(self._models())
            _check_models(condition, models, text)
            self._catch_up(models)
            if len(self._columns) > MAX_UNKEPT_GROWTH * self._kept:
                self._keep()
            return matching(with_rows(condition, self._store, text), self._columns, text)

    def allowed(self, text: str) -> npt.NDArray[np.int64] | None:
        """The rows that a question may look at: those of `rows`, or None for all where there is no filter."""
        return self.rows(text) if text else None

    def close(self) -> None:
        """Keep the columns for the next start."""
        with self._lock:
            if len(self._columns) > self._kept:
                self._keep()

    def _catch_up(self, models: Set[str]) -> None:
        if models != self._seen:
            self._columns = self._file.read(models) or Columns()
            self._kept, self._seen = len(self._columns), models
        self._read_on(models)
        if self._store.count() < (1 - MAX_DEAD_SHARE) * len(self._columns):
            self._columns, self._kept = Columns(), 0
            self._read_on(models)

    def _read_on(self, models: Set[str]) -> None:
        while records := self._store.records_after(self._columns.last_row, BATCH_RECORDS):
            self._columns.append(_attributes(records, models))

    def _keep(self) -> None:
        if len(self._columns) >= MIN_KEPT and self._seen is not None:
            self._file.write(self._columns, self._seen)
            self._kept = len(self._columns)


def _check_models(condition: Condition, models: Set[str], text: str) -> None:
    """Refuse what is predicted by none of these models: its opposite would hold for every item."""
    for comparison in comparisons(condition):
        about = comparison.field
        if about.model is not None and about.model not in models:
            has = f"its models are {', '.join(sorted(models))}" if models else "it has none"
            raise InvalidArgumentError("filter", text, f"{about} is of no model of this collection; {has}")


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
