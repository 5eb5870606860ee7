"""What a collection's environment keeps of an item, and what a write asks and does."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embeddb.query import Modality, Prediction

__all__ = ["Committed", "Delete", "Put", "Record", "Written", "to_bytes"]

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
# The layout, the modality, and the bytes of hash, id and metadata. A record of format 1 begins with "{".
_SIZES = struct.Struct("<BBHII")
_HASH_START = _SIZES.size
_LAYOUT = 2
_MODALITIES = (None, Modality.IMAGE, Modality.TEXT)


class Put(NamedTuple):
    """Store an item whole, in place of what had its id.

    A named tuple takes a quarter of the time to make that a frozen dataclass does: thousands are made a
    second.

    Attributes:
        metadata_json: a JSON object as text.
        payload: its bytes; None for an item of features alone.
        content_hash: tells whether content that is put again is the same.
        features: (d,) float32 by model name.
        row: store it only if this is still its item's row, which is to say that the item was not replaced or
            deleted meanwhile; None for in any case.
    """

    id: str
    metadata_json: str
    modality: Modality | None
    payload: bytes | None
    content_hash: bytes
    features: Mapping[str, npt.NDArray[np.float32]]
    predictions: Mapping[str, Sequence[Prediction]] = MappingProxyType({})
    row: int | None = None


@dataclass(frozen=True)
class Delete:
    """Remove an item; one that is not there is no error here.

    Attributes:
        row: delete it only if this is still its row, which is to say that it was not replaced meanwhile; None
            for whatever it is.
    """

    id: str
    row: int | None = None


@dataclass(frozen=True)
class Written:
    """What the operations of a write did: columns, as an object for each would keep the collector busy.

    Attributes:
        rows: the item's new row, one an operation; None for a delete, or where the operation was for a row
            that the item has no more.
        replaced: the row that is dead since, one an operation; None where there was no item of that id.
    """

    rows: list[int | None] = field(default_factory=list)
    replaced: list[int | None] = field(default_factory=list)

    def part(self, start: int, stop: int) -> Written:
        """What the operations from one place to another, not included, did."""
        return Written(self.rows[start:stop], self.replaced[start:stop])


@dataclass(frozen=True, eq=False)
class Committed:
    """What one transaction changed, for the indexes.

    Attributes:
        sequence: the transaction's number, counting from 1.
        added: new rows (n,) int64, ascending, and their vectors (n, d) float32, by model name.
        removed: rows that are dead.
    """

    sequence: int
    added: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]
    removed: npt.NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Record:
    """An item as stored, without its payload and features, which are kept apart.

    Not frozen, and no named tuple: a search makes one of each hit, and this is the fastest to make.

    Attributes:
        metadata_json: a JSON object as text, read by who needs it.
        predictions_json: the predictions as they are stored; `predictions` reads them.
    """

    row: int
    id: str
    metadata_json: str
    modality: Modality | None
    content_hash: bytes
    predictions_json: bytes

    @classmethod
    def from_bytes(cls, row: int, stored: bytes | memoryview) -> Record:
        """The record that is stored under a row."""
        body = bytes(stored)
        layout, modality, hash_size, id_size, metadata_size = _SIZES.unpack_from(body)
        if layout != _LAYOUT:
            return cls._of_format_1(row, body)
        id_start = _HASH_START + hash_size
        metadata_start = id_start + id_size
        predictions_start = metadata_start + metadata_size
        return cls(
            row,
            body[id_start:metadata_start].decode(),
            body[metadata_start:predictions_start].decode(),
            _MODALITIES[modality],
            body[_HASH_START:id_start],
            body[predictions_start:],
        )

    @classmethod
    def _of_format_1(cls, row: int, stored: bytes) -> Record:
        """A record as folders of format 1 have it: one JSON object."""
        fields = json.loads(stored)
        return cls(
            row=row,
            id=fields["id"],
            metadata_json=fields["metadata"],
            modality=None if fields["modality"] is None else Modality(fields["modality"]),
            content_hash=bytes.fromhex(fields["hash"]),
            predictions_json=json.dumps(fields["predictions"]).encode() if fields["predictions"] else b"",
        )

    def again(
        self, payload: bytes | None, features: Mapping[str, Mapping[int, npt.NDArray[np.float32]]]
    ) -> Put:
        """What stores the item as it is, unless it was replaced or deleted meanwhile.

        Args:
            payload: of it.
            features: (d,) float32 by model and row.
        """
        return Put(
            id=self.id,
            metadata_json=self.metadata_json,
            modality=self.modality,
            payload=payload,
            content_hash=self.content_hash,
            features={model: found[self.row] for model, found in features.items() if self.row in found},
            predictions=self.predictions,
            row=self.row,
        )

    @property
    def predictions(self) -> Mapping[str, Sequence[Prediction]]:
        """By model name, most likely first."""
        if not self.predictions_json:
            return {}
        return {
            model: tuple(Prediction(label, score) for label, score in found)
            for model, found in json.loads(self.predictions_json).items()
        }


def to_bytes(item: Put | Record) -> bytes:
    """The record of an item as it is stored under its row.

    The sizes of its parts, the hash, the id, the metadata as JSON, and the predictions as JSON, or nothing
    where there are none: what most readers do not ask for is passed over without being parsed.
    """
    item_id, metadata = item.id.encode(), item.metadata_json.encode()
    sizes = len(item.content_hash), len(item_id), len(metadata)
    head = _SIZES.pack(_LAYOUT, _MODALITIES.index(item.modality), *sizes)
    whole = b"".join((head, item.content_hash, item_id, metadata))
    if not item.predictions:
        return whole
    predictions = {model: [(p.label, p.score) for p in found] for model, found in item.predictions.items()}
    return whole + _JSON.encode(predictions).encode()
