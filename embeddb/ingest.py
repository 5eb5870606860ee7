"""A batch of items on its way in: checked, embedded where something is new, written in one transaction."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_digest

from embeddb.errors import EmbeddbError, InvalidArgumentError, or_raise
from embeddb.given_features import GivenFeatures
from embeddb.models import EmbedRequest, Priority, Registry
from embeddb.precedence import searches
from embeddb.query import (
    CollectionSettings,
    Embedding,
    Image,
    Modality,
    ModelInfo,
    PutItem,
    PutResult,
    PutResults,
    PutStatus,
    Text,
    stored_content,
)
from embeddb.storage import CollectionStore, Put, Record, Written

__all__ = ["Ingest"]

_Features = Mapping[str, Mapping[int, npt.NDArray[np.float32]]]
# What is written once models, by their names, have embedded it.
_ToEmbed = tuple[Put, Sequence[str]]

# What a content's hash begins with where there is none.
_NO_CONTENT: Sequence[bytes | memoryview] = (b"None", b"0", b"")


@dataclass
class _Outcomes:
    """What became of items of which no two share an id, by their ids.

    Attributes:
        statuses: of those of which it is known.
        errors: of those that failed.
    """

    statuses: dict[str, PutStatus] = field(default_factory=dict)
    errors: dict[str, EmbeddbError] = field(default_factory=dict)

    def fail(self, item_id: str, error: EmbeddbError) -> None:
        """Take in that an item failed."""
        self.statuses[item_id] = PutStatus.FAILED
        self.errors[item_id] = error

    def take(self, results: PutResults) -> None:
        """Take in results, in place of what was known of their items."""
        self.statuses.update(zip(results.ids, results.statuses, strict=True))
        self.errors.update((results.ids[place], error) for place, error in results.errors.items())

    def results(self, items: Sequence[PutItem]) -> PutResults:
        """The results of items, of each of which it is known."""
        ids = [item.id for item in items]
        places = enumerate(ids if self.errors else ())
        errors = {place: self.errors[item_id] for place, item_id in places if item_id in self.errors}
        return PutResults(ids, map(self.statuses.__getitem__, ids), errors)


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
        self._given_features = GivenFeatures(collection, self._models, settings)
        self._store = store
        self._registry = registry

    def put(self, items: Sequence[PutItem]) -> PutResults:
        """Store items; each succeeds or fails alone, as if it were put after those before it.

        Content that is stored already costs no inference, even where its metadata is new.

        Returns:
            One result an item, in order.
        """
        return self.begin(items)()

    def begin(self, items: Sequence[PutItem]) -> Callable[[], PutResults]:
        """Embed items and begin to write them.

        A caller that begins another batch before this one is written must see to it that the two share no id.
        Where an id occurs twice in this one, all of it is written when this returns; beside searches, so is
        one without contents.

        Returns:
            Waits until they are durable and searchable, and gives what `put` does.
        """
        if len({item.id for item in items}) < len(items):
            given = _have_no_content(items)
            done = self._put_ends(items) if given else self._put_in_turns(items)
            return lambda: done
        return self._begin(items)

    def _begin(self, items: Sequence[PutItem], *, checked: bool = False) -> Callable[[], PutResults]:
        """Begin to put items of which no two share an id.

        Args:
            checked: whether their features are known to be fine.
        """
        given = _have_no_content(items)
        # To read and cut contents takes far longer, and most of it runs beside everything else.
        with self._store.turn if given else nullcontext():
            refused = {} if checked else self._given_features.refused(items)
            outcomes, to_embed, puts = self._compared(items, refused)
        for (put, _), outcome in zip(to_embed, self._embed(to_embed), strict=True):
            if isinstance(outcome, EmbeddbError):
                outcomes.fail(put.id, outcome)
            else:
                puts.append(_with(put, outcome))
        if not self._settings.keep_payloads:
            puts = [put._replace(payload=None) for put in puts]
        writing = self._store.begin_write(puts) if puts else None
        if writing is not None and given and searches.came_lately:
            # To prepare the next batch meanwhile would take one more thread, and searches wait for its core.
            wait([writing])
        return partial(self._finish, items, outcomes, puts, writing)

    def _put_ends(self, items: Sequence[PutItem]) -> PutResults:
        """Put items of given features, some of which share an id: the first and last of each are written.

        Nobody can count on reading those between, and what becomes of each follows from the one before it.
        """
        refused = self._given_features.refused(items)
        fine: dict[str, list[tuple[int, Put]]] = defaultdict(list)
        for place, item in enumerate(items):
            if place in refused:
                continue
            put = _put(item, None)
            try:
                self._to_embed_it(put)
            except EmbeddbError as error:
                refused[place] = error
            else:
                fine[item.id].append((place, put))
        results = {
            place: PutResult(items[place].id, PutStatus.FAILED, error) for place, error in refused.items()
        }
        for puts in fine.values():
            for (_, before), (place, put) in pairwise(puts):
                status = PutStatus.UNCHANGED if _are_alike(before, put) else PutStatus.REPLACED
                results[place] = PutResult(put.id, status)
        firsts = [puts[0][0] for puts in fine.values()]
        lasts = [puts[-1][0] for puts in fine.values() if len(puts) > 1]
        results |= zip(firsts, self._begin([items[place] for place in firsts], checked=True)(), strict=True)
        self._begin([items[place] for place in lasts], checked=True)()
        return PutResults.of(results[place] for place in range(len(items)))

    def _put_in_turns(self, items: Sequence[PutItem]) -> PutResults:
        """Put items of which some share an id: those in turns, all others with the first."""
        results: dict[int, PutResult] = {}
        for turn in _turns(items):
            results |= zip(turn, self.put([items[place] for place in turn]), strict=True)
        return PutResults.of(results[place] for place in range(len(items)))

    def _finish(
        self,
        items: Sequence[PutItem],
        outcomes: _Outcomes,
        puts: Sequence[Put],
        writing: Future[Written] | None,
    ) -> PutResults:
        """The results of items, those that are not written included, once the others are."""
        moved: set[str] = set()
        created, replaced = PutStatus.CREATED, PutStatus.REPLACED
        written = writing.result() if writing else Written()
        done = zip(puts, written.rows, written.replaced, strict=True)
        for put, row, dead in searches.behind(done):
            if row is None:
                moved.add(put.id)
            outcomes.statuses[put.id] = created if dead is None else replaced
        if moved:
            # Their items were replaced between what was read of them and the write.
            outcomes.take(self.put([item for item in items if item.id in moved]))
        return outcomes.results(items)

    def _compared(
        self, items: Sequence[PutItem], refused: Mapping[int, EmbeddbError]
    ) -> tuple[_Outcomes, list[_ToEmbed], list[Put]]:
        """Compare items with those that are stored.

        Args:
            refused: what is wrong with the features of some, by their places.

        Returns:
            What became of those that are malformed or unchanged, what models have to embed before it is
            written, and what is to be written as it is.
        """
        stored = self._store.get(searches.behind([item.id for item in items]))
        outcomes = _Outcomes()
        to_embed: list[_ToEmbed] = []
        puts: list[Put] = []
        alike: list[tuple[_ToEmbed, Record]] = []
        boxed = {item.id: item.content for item in items if _has_box(item.content)}
        cut = dict(zip(boxed, self._registry.cut(list(boxed.values())), strict=True))
        compared = searches.behind(zip(items, stored, strict=True))
        for place, (item, record) in enumerate(compared):
            try:
                if place in refused:
                    raise refused[place]
                put = _put(item, or_raise(cut[item.id]) if item.id in cut else item.content)
                models = self._to_embed_it(put)
            except EmbeddbError as error:
                outcomes.fail(item.id, error)
                continue
            if record is not None and record.content_hash == put.content_hash:
                alike.append(((put, models), record))
            elif models:
                to_embed.append((put, models))
            else:
                puts.append(put)
        features = self._stored_features(alike)
        for (put, models), record in alike:
            # Those of a model that was dropped and added again are gone, though the content is the same.
            if any(record.row not in features[model] for model in models):
                to_embed.append((put, models))
            elif any(record.row not in features[model] for model in put.features):
                puts.append(put)
            elif record.metadata_json == put.metadata_json:
                outcomes.statuses[put.id] = PutStatus.UNCHANGED
            else:
                again = record.again(put.payload, features)
                puts.append(again._replace(metadata_json=put.metadata_json))
        return outcomes, to_embed, puts

    def _to_embed_it(self, put: Put) -> Sequence[str]:
        """The models that have to embed an item's content.

        Raises:
            InvalidArgumentError: there is none, and no features are given either.
        """
        if put.modality is None and put.features:
            return ()
        models = [
            name
            for name, info in self._models.items()
            if put.modality in info.modalities and name not in put.features
        ]
        if not models and not put.features:
            able = sorted({str(each) for info in self._models.values() for each in info.modalities})
            allowed = f"collection {self._collection!r} has models for: {', '.join(able) or 'nothing'}"
            raise InvalidArgumentError("item.content", str(put.modality), allowed)
        return models

    def _embed(self, to_embed: Sequence[_ToEmbed]) -> list[Mapping[str, Embedding] | EmbeddbError]:
        """The embeddings of each item by model name."""
        requests = [EmbedRequest(_content(put), models) for put, models in to_embed]
        return list(self._registry.embed(requests, Priority.BULK)) if requests else []

    def _stored_features(self, alike: Sequence[tuple[_ToEmbed, Record]]) -> _Features:
        """Features of items that are put as they are stored, by model and row; each space is read once.

        Those of the models that embed the item or whose features are given, and all where they will be stored
        again with other metadata.
        """
        rows: dict[str, list[int]] = {model: [] for model in self._models}
        for (put, models), record in alike:
            unchanged = record.metadata_json == put.metadata_json
            for model in (*models, *put.features) if unchanged else self._models:
                rows[model].append(record.row)
        return {model: self._store.features(model, wanted) for model, wanted in rows.items() if wanted}


def _turns(items: Sequence[PutItem]) -> list[list[int]]:
    """The places of items: of an id the first in the first turn, the second in the second, and so on."""
    turns: list[list[int]] = []
    seen: Counter[str] = Counter()
    for place, item in enumerate(items):
        if seen[item.id] == len(turns):
            turns.append([])
        turns[seen[item.id]].append(place)
        seen[item.id] += 1
    return turns


def _are_alike(put: Put, other: Put) -> bool:
    """Whether two puts of one id, without contents, store the same."""
    return (put.content_hash, put.metadata_json) == (other.content_hash, other.metadata_json)


def _put(item: PutItem, content: Image | Text | None) -> Put:
    """What to write of an item, whose image is cut to its box, with the features that are given.

    Raises:
        InvalidArgumentError: the image cannot be read.
    """
    modality, payload = None, None
    if content is not None:
        modality = Modality.TEXT if isinstance(content, Text) else Modality.IMAGE
        payload = content.read()
    content_hash = _content_hash(item, modality, payload)
    # By position, which takes half the time.
    return Put(item.id, item.metadata_json, modality, payload, content_hash, item.features, item.predictions)


def _with(put: Put, embeddings: Mapping[str, Embedding]) -> Put:
    """The same with what models made of it."""
    predictions = {model: each.predictions for model, each in embeddings.items() if each.predictions}
    return put._replace(
        features={model: each.features for model, each in embeddings.items()} | dict(put.features),
        predictions=predictions | dict(put.predictions),
    )


def _content(put: Put) -> Text | Image:
    """The content as it is stored, so that a file that changes meanwhile does no harm."""
    assert put.modality is not None
    assert put.payload is not None
    return stored_content(put.modality, put.payload)


def _content_hash(item: PutItem, modality: Modality | None, payload: bytes | None) -> bytes:
    """16 bytes that tell whether what is put of an item, but for its metadata, is what is stored."""
    parts = [*_NO_CONTENT]
    if payload is not None:
        parts = [str(modality).encode(), str(len(payload)).encode(), payload]
    for name in sorted(item.features):
        parts += name.encode(), item.features[name].data
    for name in sorted(item.predictions):
        parts += name.encode(), repr(item.predictions[name]).encode()
    whole = b"\0".join(parts)
    if payload is None:
        # Vectors come by tens of thousands a second, and a hash that withstands forgers takes 5 us of each:
        # who forges two vectors of one hash keeps the first.
        return xxh3_128_digest(whole)
    return hashlib.blake2b(whole, digest_size=16).digest()


def _have_no_content(items: Iterable[PutItem]) -> bool:
    return all(item.content is None for item in items)


def _has_box(content: Image | Text | None) -> TypeGuard[Image]:
    return isinstance(content, Image) and content.box is not None
