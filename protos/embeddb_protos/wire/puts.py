"""Items on their way in, and what became of them, on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import PutItem, PutResult, PutResults, PutStatus
from embeddb_protos.v1 import items_pb2
from embeddb_protos.wire.errors import error_from, error_message, parse_each
from embeddb_protos.wire.expressions import vector_from, vectors_from, vectors_message
from embeddb_protos.wire.items import (
    content_from,
    content_message,
    fill_spaces,
    json_object,
    predictions_from,
)
from embeddb_protos.wire.versions import meaning, one_each

__all__ = [
    "fits_columns",
    "put_item_from",
    "put_item_message",
    "put_items_from",
    "put_request_message",
    "put_response_message",
    "put_results_from",
    "refused_from",
]

_STATUSES = {
    PutStatus.CREATED: items_pb2.PUT_STATUS_CREATED,
    PutStatus.REPLACED: items_pb2.PUT_STATUS_REPLACED,
    PutStatus.UNCHANGED: items_pb2.PUT_STATUS_UNCHANGED,
    PutStatus.FAILED: items_pb2.PUT_STATUS_FAILED,
}
_STATUSES_BACK: dict[int, PutStatus] = {number: status for status, number in _STATUSES.items()}


def fits_columns(item: PutItem) -> bool:
    """Whether an item is no more than an id, metadata and features, which columns can hold."""
    return item.content is None and not item.predictions


def put_request_message(
    collection: str, items: Sequence[PutItem | items_pb2.PutItem]
) -> items_pb2.PutItemsRequest:
    """A request to store items, some of which may be messages already.

    Columns hold all of them or none: of two items with one id the last has to stay the last.
    """
    loose = [each for each in items if isinstance(each, PutItem) and fits_columns(each)]
    if len(loose) == len(items) and len({_shape(each) for each in loose}) == 1:
        return items_pb2.PutItemsRequest(collection=collection, columns=_columns_message(loose))
    messages = [put_item_message(each) if isinstance(each, PutItem) else each for each in items]
    return items_pb2.PutItemsRequest(collection=collection, items=messages)


def put_items_from(message: items_pb2.PutItemsRequest) -> list[PutItem | EmbeddbError]:
    """The items of a request, why there is none in the place of each that is malformed.

    Raises:
        InvalidArgumentError: its columns are not of one length, or the bytes of their vectors are not of
            whole ones.
    """
    items = parse_each(put_item_from, message.items)
    return items + _columns_from(message.columns) if message.HasField("columns") else items


def put_response_message(
    request: items_pb2.PutItemsRequest, results: PutResults
) -> items_pb2.PutItemsResponse:
    """What became of the items of a request, in the order of `put_items_from`."""
    count = len(request.items)
    messages = map(_result_message, results[:count])
    if not request.HasField("columns"):
        return items_pb2.PutItemsResponse(results=messages)
    rest = results[count:]
    columns = items_pb2.PutOutcomes(statuses=map(_STATUSES.__getitem__, rest.statuses))
    for place, error in rest.errors.items():
        columns.errors[place].CopyFrom(error_message(error))
    return items_pb2.PutItemsResponse(results=messages, columns=columns)


def refused_from(
    request: items_pb2.PutItemsRequest, parsed: Sequence[PutItem | EmbeddbError]
) -> dict[int, PutResult]:
    """The results of the items of a request that are malformed, by their places.

    Args:
        parsed: what `put_items_from` made of the request.
    """
    refused = {place: each for place, each in enumerate(parsed) if isinstance(each, EmbeddbError)}
    ids = [*(item.id for item in request.items), *request.columns.ids] if refused else []
    return {place: PutResult(ids[place], PutStatus.FAILED, error) for place, error in refused.items()}


def put_results_from(request: items_pb2.PutItemsRequest, response: items_pb2.PutItemsResponse) -> PutResults:
    """What became of the items of a request, in the order of `put_items_from`.

    Raises:
        InvalidArgumentError: a status is one of a later version.
        FailedPreconditionError: they are not as many as the items.
    """
    ids = request.columns.ids
    sent = response.columns.statuses[: len(ids)]
    meanings = {number: meaning("status", _STATUSES_BACK, number) for number in set(sent)}
    errors = {place: error_from(each) for place, each in response.columns.errors.items() if place < len(sent)}
    columns = PutResults(ids[: len(sent)], map(meanings.__getitem__, sent), errors)
    results = PutResults.of(map(_result_from, response.results)) + columns
    return one_each(len(request.items) + len(ids), results)


def put_item_message(item: PutItem) -> items_pb2.PutItem:
    """An item to be stored as a message; an image is read here."""
    message = items_pb2.PutItem(id=item.id, metadata_json=item.metadata_json)
    if item.content is not None:
        message.content.CopyFrom(content_message(item.content))
    fill_spaces(message, item)
    return message


def put_item_from(message: items_pb2.PutItem) -> PutItem:
    """The item to be stored that a message holds.

    Raises:
        InvalidArgumentError: a field of it is malformed.
    """
    return PutItem(
        id=message.id,
        content=content_from(message.content) if message.HasField("content") else None,
        metadata=json_object("item.metadata", message.metadata_json),
        features={m: vector_from(f"item.features[{m}]", v) for m, v in message.features.items()},
        predictions={m: predictions_from(each.predictions) for m, each in message.predictions.items()}
        if message.predictions
        else {},
    )


def _result_from(message: items_pb2.PutResult) -> PutResult:
    error = error_from(message.error) if message.HasField("error") else None
    return PutResult(message.id, meaning("status", _STATUSES_BACK, message.status), error)


def _result_message(result: PutResult) -> items_pb2.PutResult:
    error = None if result.error is None else error_message(result.error)
    return items_pb2.PutResult(id=result.id, status=_STATUSES[result.status], error=error)


def _shape(item: PutItem) -> tuple[str | int, ...]:
    """Of which models an item has features, and of which dimensions."""
    return (*item.features, *map(len, item.features.values()))


def _columns_message(items: Sequence[PutItem]) -> items_pb2.PutColumns:
    """Items of one shape as columns."""
    metadata = [item.metadata_json for item in items]
    message = items_pb2.PutColumns(
        ids=[item.id for item in items],
        metadata_json=metadata if any(text != "{}" for text in metadata) else None,
    )
    for model in items[0].features:
        message.features[model].CopyFrom(vectors_message([item.features[model] for item in items]))
    return message


def _columns_from(message: items_pb2.PutColumns) -> list[PutItem | EmbeddbError]:
    ids, metadata = list(message.ids), list(message.metadata_json)
    features = {
        model: vectors_from(f"columns.features[{model}]", each) for model, each in message.features.items()
    }
    lengths = {f"columns.features[{model}]": len(vectors) for model, vectors in features.items()}
    if metadata:
        lengths["columns.metadata_json"] = len(metadata)
    for field, length in lengths.items():
        if length != len(ids):
            raise InvalidArgumentError(field, f"{length:,}", f"must be one for each of the {len(ids):,} ids")
    objects = (json_object("item.metadata", text) for text in metadata)
    try:
        return [*PutItem.rows(ids, features, list(objects) or None)]
    except InvalidArgumentError:
        # One of them is malformed: each is made alone, and that one says what is wrong with it.
        return parse_each(partial(_item_at, ids, metadata, features), range(len(ids)))


def _item_at(
    ids: Sequence[str],
    metadata: Sequence[str],
    features: Mapping[str, npt.NDArray[np.float32]],
    place: int,
) -> PutItem:
    return PutItem(
        ids[place],
        metadata=json_object("item.metadata", metadata[place] if metadata else ""),
        features={model: vectors[place] for model, vectors in features.items()},
    )
