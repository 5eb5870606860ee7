"""Records and what was found of them -> the columns that a view shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from embeddb.answers.cut import Found
from embeddb.errors import EmbeddbError
from embeddb.query import HitColumns, Image, ItemColumns, Text, View, stored_content
from embeddb.storage import CollectionStore, Record

__all__ = ["hit_columns", "item_columns"]


def hit_columns(
    answers: Sequence[Found | EmbeddbError], view: View, store: CollectionStore, models: Collection[str]
) -> HitColumns:
    """The hits of a batch of expressions.

    Args:
        models: those of the collection.
    """
    found = Found.joined([each for each in answers if isinstance(each, Found)])
    read = store.by_rows(found.rows, keep=True)
    outcomes = [len(each.rows) if isinstance(each, Found) else each for each in answers]
    records = [record for record in read if record is not None]
    if len(records) < len(read):
        # A row that was deleted since the index was asked is gone, and so is its hit.
        found = found.only([place for place, record in enumerate(read) if record is not None])
        left = iter(read)
        outcomes = [
            sum(record is not None for record in islice(left, each)) if isinstance(each, int) else each
            for each in outcomes
        ]
    items = item_columns(records, view, store, models)
    return HitColumns(outcomes, items, found.scores, found.explanations, found.groups, found.models)


def item_columns(
    records: Sequence[Record], view: View, store: CollectionStore, models: Collection[str]
) -> ItemColumns:
    """What a view shows of records.

    Args:
        models: those of the collection; a record keeps what a model saw that was dropped since.
    """
    return ItemColumns(
        [record.id for record in records],
        [record.metadata_json for record in records],
        [record.modality for record in records],
        payloads=_contents(records, store) if view.payload else (),
        features=_features(records, store, models) if view.features else (),
        predictions=[
            {model: found for model, found in record.predictions.items() if model in models}
            for record in records
        ]
        if view.predictions
        else (),
    )


def _features(
    records: Sequence[Record], store: CollectionStore, models: Collection[str]
) -> list[dict[str, npt.NDArray[np.float32]]]:
    """The vectors of each item, (d,) by model."""
    rows = [record.row for record in records]
    by_model = {model: store.features(model, rows) for model in models}
    return [{model: found[row] for model, found in by_model.items() if row in found} for row in rows]


def _contents(records: Sequence[Record], store: CollectionStore) -> list[Image | Text | None]:
    """What was put in, one object an item: many expressions may have found the same large image."""
    distinct = {record.row: record for record in records}
    payloads = store.payloads(distinct)
    read = dict(zip(distinct, map(_content, distinct.values(), payloads), strict=True))
    return [read[record.row] for record in records]


def _content(record: Record, payload: bytes | None) -> Image | Text | None:
    if record.modality is None or payload is None:
        return None
    return stored_content(record.modality, payload)
