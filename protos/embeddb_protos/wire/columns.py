"""What a batch of searches found, as columns on the wire: a message a hit costs more than to find it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from embeddb.errors import EmbeddbError
from embeddb.query import HitColumns, ItemColumns, Modality
from embeddb_protos.v1 import search_pb2
from embeddb_protos.wire.errors import error_from, error_message
from embeddb_protos.wire.items import modality_from, modality_number

__all__ = ["columns_from", "columns_message", "fits_columns"]


def fits_columns(found: HitColumns) -> bool:
    """Whether the message has room for all that hits say: their ids, scores, metadata and modalities."""
    items = found.items
    beyond = (items.payloads, items.features, items.predictions)
    return not any((*beyond, found.explanations, found.groups, found.models))


def columns_message(found: HitColumns) -> search_pb2.HitColumns:
    """Hits as a message, of those that fit."""
    items = found.items
    message = search_pb2.HitColumns(
        counts=[0 if isinstance(each, EmbeddbError) else each for each in found.outcomes],
        ids=items.ids,
        scores=found.scores,
    )
    if set(items.metadata_json) - {"{}"}:
        message.metadata_json.extend(items.metadata_json)
    if any(items.modalities):
        message.modalities.extend(map(modality_number, items.modalities))
    for place, each in enumerate(found.outcomes):
        if isinstance(each, EmbeddbError):
            message.errors[place].CopyFrom(error_message(each))
    return message


def columns_from(message: search_pb2.HitColumns) -> HitColumns:
    """The hits that a message holds."""
    outcomes: list[int | EmbeddbError] = list(message.counts)
    if message.errors:  # As with the maps of an item: to ask for what is in none takes longer.
        for place, error in message.errors.items():
            outcomes[place] = error_from(error)
    # The columns stay in the message until somebody asks for them.
    items = ItemColumns(message.ids, message.metadata_json, _Modalities(message.modalities))
    return HitColumns(outcomes, items, message.scores)


class _Modalities(Sequence[Modality | None]):
    """What the numbers of a message stand for, made when somebody asks: most hits are never asked."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, key: int) -> Modality | None: ...
    @overload
    def __getitem__(self, key: slice) -> list[Modality | None]: ...
    def __getitem__(self, key: int | slice) -> Modality | list[Modality | None] | None:
        numbers = self._numbers[key]
        return modality_from(numbers) if isinstance(numbers, int) else list(map(modality_from, numbers))
