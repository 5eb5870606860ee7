"""A batch of items on its way in: checked, embedded where something is new, written in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError, or_raise
from embeddb.index import check_finite_scores
from embeddb.models import EmbedRequest, Priority, Registry
from embeddb.query import (
    CollectionSettings,
    Embedding,
    Encoding,
    Image,
    Metric,
    Modality,
    ModelInfo,
    PutItem,
    PutResult,
    PutStatus,
    Text,
)
from embeddb.storage import CollectionStore, Put, Record, Written

__all__ = ["Ingest"]

_Features = Mapping[str, Mapping[int, npt.NDArray[np.float32]]]

MAX_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(eq=False, slots=True)
class _Plan:
    """An item that is well formed: what to store of it, and which models have to embed it."""

    item: PutItem
    modality: Modality | None
    payload: bytes | None
    content_hash: bytes
    models: Sequence[str]

    def request(self) -> EmbedRequest:
        """The content as it is stored, so that a file that changes meanwhile does no harm."""
        assert self.payload is not None
        is_text = self.modality is Modality.TEXT
        return EmbedRequest(Text(self.payload.decode()) if is_text else Image(self.payload), self.models)

    def put(self, embeddings: Mapping[str, Embedding], *, keep_payload: bool) -> Put:
        """What to write: the features that were given and those that the models made."""
        return Put(
            id=self.item.id,
            metadata_json=self.item.metadata_json,
            modality=self.modality,
            payload=self.payload if keep_payload else None,
            content_hash=self.content_hash,
            features={model: e.features for model, e in embeddings.items()} | dict(self.item.features),
            predictions={model: e.predictions for model, e in embeddings.items() if e.predictions}
            | dict(self.item.predictions),
        )


class Ingest:
    """Takes batches of items into one collection.

    Args:
        collection: its name, for the errors.
        models: those that embed its items, by name.
        settings: the collection's.
        store: its storage.
        registry: runs contents through models.
    """

    def __init__(
        self,
        collection: str,
        models: Mapping[str, ModelInfo],
        settings: CollectionSettings,
        store: CollectionStore,
        registry: Registry,
    ) -> None:
        self._collection = collection
        self._models = dict(models)
        self._settings = settings
        self._store = store
        self._registry = registry

    def put(self, items: Sequence[PutItem]) -> list[PutResult]:
        """Store items; each succeeds or fails alone, and where an id occurs twice, the last one counts.

        Content that is stored already costs no inference, even where its metadata is new.

        Returns:
            One result an item, in order.
        """
        return self.begin(items)()

    def begin(self, items: Sequence[PutItem]) -> Callable[[], list[PutResult]]:
        """Embed items and begin to write them.

        Whoever begins another batch before this one is written must see to it that they have no id in common.

        Returns:
            Waits until they are durable and searchable, and gives what `put` does.
        """
        results, to_embed, puts = self._compared({item.id: item for item in items})
        for plan, outcome in zip(to_embed, self._embed(to_embed), strict=True):
            if isinstance(outcome, EmbeddbError):
                results[plan.item.id] = PutResult(plan.item.id, PutStatus.FAILED, outcome)
            else:
                puts.append(plan.put(outcome, keep_payload=self._settings.keep_payloads))
        writing = self._store.begin_write(puts) if puts else None
        return partial(self._finish, items, results, puts, writing)

    def _finish(
        self,
        items: Sequence[PutItem],
        results: dict[str, PutResult],
        puts: Sequence[Put],
        writing: Future[list[Written]] | None,
    ) -> list[PutResult]:
        """The results of items, those that are not written included, once the others are."""
        moved: set[str] = set()
        for put, written in zip(puts, writing.result() if writing else (), strict=True):
            if written.row is None:
                moved.add(put.id)
            status = PutStatus.CREATED if written.replaced is None else PutStatus.REPLACED
            results[put.id] = PutResult(put.id, status)
        if moved:
            # Their items were replaced between what was read of them and the write.
            again = self.put([item for item in items if item.id in moved])
            results.update((result.id, result) for result in again)
        return [results[item.id] for item in items]

    def _compared(self, latest: Mapping[str, PutItem]) -> tuple[dict[str, PutResult], list[_Plan], list[Put]]:
        """Compare items, by their ids, with those that are stored.

        Returns:
            The results of those that are malformed or unchanged, what is to be embedded, and what is to be
            written of those that have new metadata alone.
        """
        stored = dict(zip(latest, self._store.get(list(latest)), strict=True))
        results: dict[str, PutResult] = {}
        to_embed: list[_Plan] = []
        alike: list[tuple[_Plan, Record]] = []
        puts: list[Put] = []
        boxed = {item.id: item.content for item in latest.values() if _has_box(item.content)}
        cut = dict(zip(boxed, self._registry.cut(list(boxed.values())), strict=True))
        for item in latest.values():
            try:
                plan = self._plan(item, or_raise(cut.get(item.id, item.content)))
            except EmbeddbError as error:
                results[item.id] = PutResult(item.id, PutStatus.FAILED, error)
                continue
            record = stored[item.id]
            if record is None or record.content_hash != plan.content_hash:
                to_embed.append(plan)
            else:
                alike.append((plan, record))
        features = self._stored_features(alike)
        for plan, record in alike:
            if any(record.row not in features[model] for model in plan.models):
                to_embed.append(plan)
            elif record.metadata_json == plan.item.metadata_json:
                results[plan.item.id] = PutResult(plan.item.id, PutStatus.UNCHANGED)
            else:
                payload = plan.payload if self._settings.keep_payloads else None
                put = record.again(payload, features)
                puts.append(replace(put, metadata_json=plan.item.metadata_json))
        return results, to_embed, puts

    def _plan(self, item: PutItem, content: Image | Text | None) -> _Plan:
        """Check an item, whose image is cut to its box, against the collection.

        Raises:
            InvalidArgumentError: features do not fit, the image cannot be read, or no model encodes it.
            NotFoundError: features are given for a model that the collection does not have.
        """
        for name, vector in item.features.items():
            self._check_features(name, vector)
        modality, payload = _payload(content)
        missing = [info for name, info in self._models.items() if name not in item.features]
        models = [info.name for info in missing if modality in info.modalities]
        if not models and not item.features:
            able = sorted({str(each) for info in self._models.values() for each in info.modalities})
            allowed = f"collection {self._collection!r} has models for: {', '.join(able) or 'nothing'}"
            raise InvalidArgumentError("item.content", str(modality), allowed)
        stored = payload or b""
        parts: list[bytes | memoryview] = [str(modality).encode(), str(len(stored)).encode(), stored]
        for name in sorted(item.features):
            parts += [name.encode(), item.features[name].data]
        for name in sorted(item.predictions):
            parts += [name.encode(), repr(item.predictions[name]).encode()]
        digest = hashlib.blake2b(b"\0".join(parts), digest_size=16)
        return _Plan(item, modality, payload, digest.digest(), models)

    def _check_features(self, model: str, vector: npt.NDArray[np.float32]) -> None:
        info = self._models.get(model)
        if info is None:
            raise NotFoundError(f"model of collection {self._collection!r}", model, list(self._models))
        if len(vector) != info.dimension:
            allowed = f"must have {info.dimension}, the dimension of model {model!r}"
            raise InvalidArgumentError(f"item.features[{model}]", f"{len(vector)} dimensions", allowed)
        if self._settings.encoding is Encoding.FLOAT16:
            largest = float(np.abs(vector).max())
            if largest > MAX_FLOAT16:
                allowed = f"must be within ±{MAX_FLOAT16:g}, which is what float16 holds"
                raise InvalidArgumentError(f"item.features[{model}]", largest, allowed)
        check_finite_scores(f"item.features[{model}]", vector, self._settings.metric)
        stored = vector.astype(np.float16) if self._settings.encoding is Encoding.FLOAT16 else vector
        if self._settings.metric is Metric.COSINE and not stored.any():
            allowed = f"has no direction, and this collection compares by {self._settings.metric}"
            raise InvalidArgumentError(f"item.features[{model}]", "the zero vector", allowed)

    def _embed(self, plans: Sequence[_Plan]) -> list[Mapping[str, Embedding] | EmbeddbError]:
        """The embeddings of each plan by model name; none where all features were given."""
        requests = [plan.request() for plan in plans if plan.models]
        embedded = iter(self._registry.embed(requests, Priority.BULK) if requests else ())
        return [next(embedded) if plan.models else {} for plan in plans]

    def _stored_features(self, alike: Sequence[tuple[_Plan, Record]]) -> _Features:
        """Features of stored items that have their plan's content, by model and row; each space is read once.

        Those of the models that embed the item, and all where they will be stored again with other metadata.
        """
        rows: dict[str, list[int]] = {model: [] for model in self._models}
        for plan, record in alike:
            unchanged = record.metadata_json == plan.item.metadata_json
            for model in plan.models if unchanged else self._models:
                rows[model].append(record.row)
        return {model: self._store.features(model, wanted) for model, wanted in rows.items() if wanted}


def _payload(content: Image | Text | None) -> tuple[Modality | None, bytes | None]:
    """What is stored of a content."""
    match content:
        case Image():
            return Modality.IMAGE, content.read()
        case Text(text):
            return Modality.TEXT, text.encode()
    return None, None


def _has_box(content: Image | Text | None) -> TypeGuard[Image]:
    return isinstance(content, Image) and content.box is not None
