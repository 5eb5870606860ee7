"""Hits there and back."""

from __future__ import annotations

from collections.abc import Sequence

from embeddb.errors import or_raise
from embeddb.query import Hit, HitColumns, Hits, ItemColumns
from embeddb_protos.v1 import search_pb2
from embeddb_protos.wire.search import response_from, response_message


def as_columns(hits: Sequence[Hit]) -> HitColumns:
    """The hits of one expression, whatever they carry."""
    items = [hit.item for hit in hits]
    return HitColumns(
        [len(hits)],
        ItemColumns(
            [item.id for item in items],
            [item.metadata_json for item in items],
            [item.modality for item in items],
            [item.payload for item in items],
            [item.features for item in items],
            [item.predictions for item in items],
        ),
        [hit.score for hit in hits],
        [hit.explanation for hit in hits],
        [hit.group for hit in hits],
        [hit.model for hit in hits],
    )


def carried(hits: Sequence[Hit]) -> Hits:
    """The hits of one expression as they arrive, by a client that can read columns."""
    sent = response_message(as_columns(hits), columns=True).SerializeToString()
    [received] = response_from(search_pb2.SearchResponse.FromString(sent))
    return or_raise(received)
