"""Items on their way in, and what became of them, on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import PutItem, PutResult, PutStatus
from embeddb_protos.v1 import common_pb2, items_pb2
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
    request: items_pb2.PutItemsRequest, outcomes: Sequence[PutResult | EmbeddbError]
) -> items_pb2.PutItemsResponse:
    """What became of the items of a request: one outcome each, in the order of `put_items_from`."""
    results = [
        items_pb2.PutResult(id=item.id, status=_status(each), error=_error(each))
        for item, each in zip(request.items, outcomes, strict=False)
    ]
    if not request.HasField("columns"):
        return items_pb2.PutItemsResponse(results=results)
    rest = outcomes[len(results) :]
    columns = items_pb2.PutOutcomes(statuses=map(_status, rest))
    for place, each in enumerate(rest):
        error = _error(each)
        if error is not None:
            columns.errors[place].CopyFrom(error)
    return items_pb2.PutItemsResponse(results=results, columns=columns)


def put_results_from(
    request: items_pb2.PutItemsRequest, response: items_pb2.PutItemsResponse
) -> list[PutResult]:
    """What became of the items of a request, in the order of `put_items_from`.

    Raises:
        InvalidArgumentError: a status is one of a later version.
        FailedPreconditionError: they are not as many as the items.
    """
    results = [_result_from(each) for each in response.results]
    errors = {place: error_from(each) for place, each in response.columns.errors.items()}
    sent = response.columns.statuses
    statuses = {number: meaning("status", _STATUSES_BACK, number) for number in set(sent)}
    for place, (item_id, number) in enumerate(zip(request.columns.ids, sent, strict=False)):
        results.append(PutResult(item_id, statuses[number], errors.get(place)))
    return one_each(len(request.items) + len(request.columns.ids), results)


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


def _status(outcome: PutResult | EmbeddbError) -> items_pb2.PutStatus:
    return items_pb2.PUT_STATUS_FAILED if isinstance(outcome, EmbeddbError) else _STATUSES[outcome.status]


def _error(outcome: PutResult | EmbeddbError) -> common_pb2.Error | None:
    error = outcome if isinstance(outcome, EmbeddbError) else outcome.error
    return None if error is None else error_message(error)
