"""Items column by column, before an object is made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from embeddb.query.items import StoredItem
from embeddb.query.models import Modality, Prediction
from embeddb.query.operands import Floats, Image, Text

__all__ = ["ItemColumns"]


@dataclass(eq=False)
class ItemColumns:
    """Stored items; see `StoredItem`. The columns that a view leaves out are empty. Not frozen, like them.

    Attributes:
        ids: one an item.
        metadata_json: one an item, or empty where none has metadata.
        modalities: one an item, or empty where all are of features alone.
        payloads: one an item, or empty.
        features: one an item, or empty.
        predictions: one an item, or empty.
    """

    ids: Sequence[str]
    metadata_json: Sequence[str]
    modalities: Sequence[Modality | None]
    payloads: Sequence[Image | Text | None] = ()
    features: Sequence[Mapping[str, Floats]] = ()
    predictions: Sequence[Mapping[str, Sequence[Prediction]]] = ()

    def part(self, start: int, stop: int) -> ItemColumns:
        """Those from one place to another, not included."""
        of = slice(start, stop)
        return ItemColumns(
            self.ids[of],
            self.metadata_json[of],
            self.modalities[of],
            self.payloads[of],
            self.features[of],
            self.predictions[of],
        )

    def items(self) -> list[StoredItem]:
        """An object for each."""
        return list(
            map(
                StoredItem,
                self.ids,
                self.metadata_json or repeat("{}"),
                self.modalities or repeat(None),
                self.payloads or repeat(None),
                self.features or repeat(None),
                self.predictions or repeat(None),
            )
        )
