"""Items: what is put, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddb.arguments import check_fields, is_utf8, listed
from embeddb.errors import InvalidArgumentError
from embeddb.query.models import Modality, Prediction
from embeddb.query.names import check_id
from embeddb.query.operands import Floats, Image, Text, as_content, as_vector, as_vectors
from embeddb.query.plain import json_text

__all__ = [
    "ItemPage",
    "PutItem",
    "StoredItem",
    "View",
    "check_page_size",
    "stored_content",
]

MAX_PAGE = 1000
"""Most items on one page of a listing."""


@dataclass(frozen=True)
class PutItem:
    """An item to be stored.

    Args:
        id: chosen by the user; an item of that id is replaced whole.
        content: the payload that the collection's models embed: an `Image` or `Text`, or what `as_content`
            makes one of. None if all features are given.
        metadata: a JSON object of at most `MAX_JSON_BYTES`, nested at most `MAX_JSON_DEPTH` deep.
        features: precomputed vectors by model name, (d,) numbers or a `Vector` each, kept as float32; they
            take the place of that model's encoding.
        predictions: what models whose features are given saw in the item, by their names, most likely first:
            `Prediction`s, or labels with scores from 0 to 1, which are kept as float32. Other models make
            their own.

    Attributes:
        metadata_json: the metadata as text, made once for all who store or send it.

    Raises:
        InvalidArgumentError: the id, the metadata, a vector or a prediction is malformed, there is neither
            content nor features, or predictions of a model whose features are not given.
    """

    id: str
    content: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    predictions: Mapping[str, Any] = field(default_factory=dict)
    metadata_json: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_id(self.id)
        object.__setattr__(self, "metadata_json", json_text("item.metadata", self.metadata))
        if self.content is not None:
            object.__setattr__(self, "content", as_content(self.content))
        if not isinstance(self.features, Mapping):
            raise InvalidArgumentError("item.features", self.features, "must be vectors by model name")
        if self.content is None and not self.features:
            raise InvalidArgumentError("item.content", None, "content or features must be given")
        vectors = {model: as_vector(f"item.features[{model}]", v) for model, v in self.features.items()}
        object.__setattr__(self, "features", vectors)
        if not isinstance(self.predictions, Mapping):
            raise InvalidArgumentError("item.predictions", self.predictions, "must be lists by model name")
        object.__setattr__(self, "predictions", self._checked_predictions() if self.predictions else {})

    @classmethod
    def rows(
        cls,
        ids: Sequence[str],
        features: Mapping[str, npt.ArrayLike],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[PutItem, ...]:
        """One item for each row of matrices, copied and checked at once: twice as fast as each alone.

        Args:
            ids: n of them.
            features: precomputed vectors by model name, (n, d) numbers each.
            metadata: n JSON objects; None for empty ones.

        Raises:
            InvalidArgumentError: they are not as many as the ids, or one of them would be refused alone.
        """
        if not isinstance(features, Mapping) or not features:
            raise InvalidArgumentError("item.features", features, "must be matrices by model name")
        matrices = {model: as_vectors(f"item.features[{model}]", each) for model, each in features.items()}
        count = len(listed("ids", ids))
        objects = [{} for _ in range(count)] if metadata is None else listed("metadata", metadata)
        lengths = {f"item.features[{model}]": len(matrix) for model, matrix in matrices.items()}
        for field_name, length in {**lengths, "metadata": len(objects)}.items():
            if length != count:
                allowed = f"must be one for each of the {count:,} ids"
                raise InvalidArgumentError(field_name, f"{length:,}", allowed)
        vectors = zip(*matrices.values(), strict=True)
        return tuple(
            cls._of_checked(item_id, each, dict(zip(matrices, row, strict=True)))
            for item_id, each, row in zip(ids, objects, vectors, strict=True)
        )

    @classmethod
    def _of_checked(
        cls, item_id: str, metadata: Mapping[str, Any], features: Mapping[str, Floats]
    ) -> PutItem:
        """An item of features that are checked already."""
        item, put = cls.__new__(cls), object.__setattr__
        put(item, "id", check_id(item_id))
        put(item, "content", None)
        put(item, "metadata", metadata)
        put(item, "features", features)
        put(item, "predictions", {})
        put(item, "metadata_json", json_text("item.metadata", metadata))
        return item

    def _checked_predictions(self) -> dict[str, tuple[Prediction, ...]]:
        for model in self.predictions:
            if model not in self.features:
                allowed = "must be of a model whose features are given; the others make their own"
                raise InvalidArgumentError("item.predictions", model, allowed)
        return {model: _predictions(f"item.predictions[{model}]", p) for model, p in self.predictions.items()}


class StoredItem:
    """An item as it is stored.

    No dataclass, and what it lacks is not made before somebody asks: hits are many, and Python's garbage
    collector counts each dictionary.

    Args:
        metadata_json: the metadata as text, as it is stored and sent.
        modality: of its payload; None for an item of features alone.
        payload: the image or text itself, if asked for and kept.
        features: by model name, (d,) float32 each, if asked for.
        predictions: by model name, most likely first.
    """

    __slots__ = ("_features", "_metadata", "_predictions", "id", "metadata_json", "modality", "payload")

    def __init__(
        self,
        id: str,  # noqa: A002 - the word for it
        metadata_json: str = "{}",
        modality: Modality | None = None,
        payload: Image | Text | None = None,
        features: Mapping[str, Floats] | None = None,
        predictions: Mapping[str, Sequence[Prediction]] | None = None,
    ) -> None:
        self.id = id
        self.metadata_json = metadata_json
        self.modality = modality
        self.payload = payload
        self._features = features
        self._predictions = predictions
        self._metadata: Mapping[str, Any] | None = None

    @property
    def features(self) -> Mapping[str, Floats]:
        """By model name, (d,) float32 each; empty where they were not asked for."""
        if self._features is None:
            self._features = {}
        return self._features

    @property
    def predictions(self) -> Mapping[str, Sequence[Prediction]]:
        """By model name, most likely first; empty where they were not asked for."""
        if self._predictions is None:
            self._predictions = {}
        return self._predictions

    @property
    def metadata(self) -> Mapping[str, Any]:
        """A JSON object, parsed when it is first asked for: of most hits it never is."""
        if self._metadata is None:
            self._metadata = json.loads(self.metadata_json)
        return self._metadata

    def __repr__(self) -> str:
        named = ("id", "metadata_json", "modality", "payload", "features", "predictions")
        return f"StoredItem({', '.join(f'{name}={getattr(self, name)!r}' for name in named)})"


@dataclass(frozen=True)
class ItemPage:
    """A page of a listing in id order; `next_token` is empty on the last one."""

    items: Sequence[StoredItem]
    next_token: str


def stored_content(modality: Modality, payload: bytes) -> Image | Text:
    """The content whose `read` gave a payload."""
    return Text(payload.decode()) if modality is Modality.TEXT else Image(payload)


def check_page_size(page_size: int) -> int:
    """Return how many items a page of a listing holds, if there can be as many.

    Raises:
        InvalidArgumentError: they are none, or more than `MAX_PAGE`.
    """
    if not 1 <= page_size <= MAX_PAGE:
        raise InvalidArgumentError("page_size", page_size, f"must be 1 to {MAX_PAGE}")
    return page_size


@dataclass(frozen=True)
class View:
    """Which parts of an item to return beside its id, metadata and modality."""

    payload: bool = False
    features: bool = False
    predictions: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "view.")


def _predictions(field_name: str, predictions: Iterable[Any]) -> tuple[Prediction, ...]:
    """Predictions, or pairs of a label and a score, as predictions whose scores are of float32."""
    try:
        pairs = [(p.label, p.score) if isinstance(p, Prediction) else tuple(p) for p in predictions]
        return tuple(_prediction(field_name, label, score) for label, score in pairs)
    except (TypeError, ValueError):
        raise InvalidArgumentError(field_name, predictions, "must be labels with scores") from None


def _prediction(field_name: str, label: object, score: float) -> Prediction:
    if not isinstance(label, str) or not is_utf8(label) or not 0 <= score <= 1:
        raise InvalidArgumentError(field_name, (label, score), "must be a string with a score from 0 to 1")
    return Prediction(label, float(np.float32(score)))
