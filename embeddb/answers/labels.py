"""The values that items have in a metadata field, as labels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from embeddb.search.fields import Label, field_value
from embeddb.storage import CollectionStore, Record

__all__ = ["all_labels", "labels"]

PAGE = 1000


def labels(store: CollectionStore, rows: Sequence[int], field: str) -> list[Label | None]:
    """The label of each row, in order; None where the item has none, or is gone."""
    return [None if record is None else _label(record, field) for record in store.by_rows(rows)]


def all_labels(store: CollectionStore, field: str) -> dict[int, Label]:
    """The labels by row, of the items that have one, in the order of their ids."""
    found: dict[int, Label] = {}
    after = ""
    while records := store.list_records(after=after, limit=PAGE, prefix=""):
        after = records[-1].id
        for record in records:
            label = _label(record, field)
            if label is not None:
                found[record.row] = label
    return found


def _label(record: Record, field: str) -> Label | None:
    return field_value(json.loads(record.metadata_json), field)
