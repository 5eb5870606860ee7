"""Writing a value into the metadata of stored items: all else in them stays, and no model runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from embeddb.progress import Step
from embeddb.query import ModelInfo, json_text
from embeddb.storage import CollectionStore, Put, Record

__all__ = ["Annotation"]

# What is written at once; their payloads are in memory for so long.
BATCH_ITEMS = 64


class Annotation:
    """Writes into one field of a collection's metadata.

    Args:
        store: the collection's storage.
        putting: gives the models that a write has to heed.
    """

    def __init__(
        self, store: CollectionStore, putting: Callable[[], AbstractContextManager[Mapping[str, ModelInfo]]]
    ) -> None:
        self._store = store
        self._putting = putting

    def write(self, field: str, values: Mapping[Record, Any], step: Step) -> int:
        """Store each item's value under a key of its metadata, a batch at a time, each whole or not at all.

        An item whose content is no longer that of its record is left as it is. A change of its metadata is
        kept, and the value added to it.

        Returns:
            How many items hold their value now.
        """
        written = 0
        records = list(values)
        for start in range(0, len(records), BATCH_ITEMS):
            step("writing labels", start, len(records))
            batch = records[start : start + BATCH_ITEMS]
            written += self._write({record: values[record] for record in batch}, field)
        return written

    def _write(self, values: Mapping[Record, Any], field: str) -> int:
        held = 0
        remaining = dict(values)
        while remaining:
            # An item that is replaced between what is read of it and the write is looked at again.
            with self._putting() as models:
                changed: dict[Record, tuple[Record, str]] = {}
                for record, now, metadata in self._still(remaining):
                    value = remaining[record]
                    if _holds(metadata, field, value):
                        held += 1
                    else:
                        changed[record] = now, json_text("item.metadata", metadata | {field: value})
                rows = self._store.write(self._puts(list(changed.values()), models)).rows if changed else []
            again = [record for record, row in zip(changed, rows, strict=True) if row is None]
            held += len(changed) - len(again)
            remaining = {record: remaining[record] for record in again}
        return held

    def _still(self, records: Collection[Record]) -> Iterator[tuple[Record, Record, dict[str, Any]]]:
        """The records whose content is still stored, each with the item's record now and its metadata."""
        for record, now in zip(records, self._store.get([each.id for each in records]), strict=True):
            if now is not None and now.content_hash == record.content_hash:
                yield record, now, json.loads(now.metadata_json)

    def _puts(self, changed: Sequence[tuple[Record, str]], models: Iterable[str]) -> list[Put]:
        """Records again, each with its new metadata as JSON."""
        puts = self._store.again([record for record, _ in changed], models)
        return [put._replace(metadata_json=text) for put, (_, text) in zip(puts, changed, strict=True)]


def _holds(metadata: Mapping[str, Any], field: str, value: object) -> bool:
    """Whether metadata has the value under a key; to Python true equals 1, and in JSON it does not."""
    return field in metadata and metadata[field] == value and type(metadata[field]) is type(value)
