"""Items on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from embeddb.errors import InvalidArgumentError
from embeddb.query import (
    Embedding,
    Image,
    Modality,
    Prediction,
    PutItem,
    StoredItem,
    Text,
    View,
)
from embeddb_protos.v1 import common_pb2, items_pb2, models_pb2
from embeddb_protos.wire.expressions import box_from, box_message, vector_from, vector_message

__all__ = [
    "MODALITIES",
    "content_from",
    "content_message",
    "embedding_from",
    "embedding_message",
    "fill_item",
    "fill_spaces",
    "item_from",
    "item_message",
    "json_object",
    "modality_from",
    "modality_number",
    "prediction_messages",
    "predictions_from",
    "view_from",
    "view_message",
]

MODALITIES = {Modality.IMAGE: common_pb2.MODALITY_IMAGE, Modality.TEXT: common_pb2.MODALITY_TEXT}
_MODALITIES_BACK: dict[int, Modality] = {number: modality for modality, number in MODALITIES.items()}


def modality_number(modality: Modality | None) -> common_pb2.Modality:
    """The number of a modality; that of "unspecified" for None."""
    return common_pb2.MODALITY_UNSPECIFIED if modality is None else MODALITIES[modality]


def modality_from(number: int) -> Modality | None:
    """The modality of that number; None for "unspecified" and for one that this version does not know."""
    return _MODALITIES_BACK.get(number)


def json_object(field: str, text: str) -> Mapping[str, Any]:
    """The JSON object in a text; an empty text is {}.

    Raises:
        InvalidArgumentError: it is not one.
    """
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(field, text, f"must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgumentError(field, text, "must be a JSON object")
    return value


def content_message(content: Image | Text) -> common_pb2.Content:
    """A payload as a message; an image is read here."""
    if isinstance(content, Image):
        box = None if content.box is None else box_message(content.box)
        return common_pb2.Content(image=content.read(), box=box)
    return common_pb2.Content(text=content.text)


def content_from(message: common_pb2.Content) -> Image | Text:
    """The payload that a message holds.

    Raises:
        InvalidArgumentError: it holds none, an empty one, or a box that is none or of a text.
    """
    box = box_from(message, message.WhichOneof("kind"))
    match message.WhichOneof("kind"):
        case "image":
            return Image(message.image, box)
        case "text":
            return Text(message.text)
    raise InvalidArgumentError("content", "none", "an image or a text must be set")


def view_message(view: View) -> items_pb2.ItemView:
    """Which parts of items to return, as a message."""
    return items_pb2.ItemView(content=view.payload, features=view.features, predictions=view.predictions)


def view_from(message: items_pb2.ItemView) -> View:
    """Which parts of items to return."""
    return View(payload=message.content, features=message.features, predictions=message.predictions)


def item_message(item: StoredItem) -> items_pb2.Item:
    """A stored item as a message."""
    message = items_pb2.Item()
    fill_item(message, item)
    return message


def fill_item(message: items_pb2.Item, item: StoredItem) -> None:
    """Put a stored item into a message that is there, which saves hits a copy each."""
    message.id = item.id
    message.metadata_json = item.metadata_json
    message.modality = modality_number(item.modality)
    if item.payload is not None:
        message.content.CopyFrom(content_message(item.payload))
    fill_spaces(message, item)


def fill_spaces(message: items_pb2.Item | items_pb2.PutItem, item: StoredItem | PutItem) -> None:
    """Put into a message what models made of an item, its features and predictions."""
    for model, values in item.features.items():
        message.features[model].CopyFrom(vector_message(values))
    for model, predictions in item.predictions.items():
        message.predictions[model].predictions.extend(prediction_messages(predictions))


def item_from(message: items_pb2.Item) -> StoredItem:
    """The stored item that a message holds."""
    features, predictions = message.features, message.predictions
    return StoredItem(
        message.id,
        message.metadata_json or "{}",
        modality_from(message.modality),
        content_from(message.content) if message.HasField("content") else None,
        # To ask for the entries of an empty map takes ten times as long as to ask whether it is empty.
        {model: vector_from("features", each) for model, each in features.items()} if features else {},
        {model: predictions_from(each.predictions) for model, each in predictions.items()}
        if predictions
        else {},
    )


def embedding_message(embedding: Embedding) -> models_pb2.Embedding:
    """What a model made of one content, as a message."""
    return models_pb2.Embedding(
        features=vector_message(embedding.features),
        predictions=prediction_messages(embedding.predictions),
    )


def embedding_from(message: models_pb2.Embedding) -> Embedding:
    """What a model made of one content."""
    return Embedding(vector_from("features", message.features), predictions_from(message.predictions))


def prediction_messages(predictions: Iterable[Prediction]) -> list[common_pb2.Prediction]:
    """Predictions as messages."""
    return [common_pb2.Prediction(label=p.label, score=p.score) for p in predictions]


def predictions_from(messages: Iterable[common_pb2.Prediction]) -> tuple[Prediction, ...]:
    """The predictions that messages hold."""
    return tuple(Prediction(p.label, p.score) for p in messages)
