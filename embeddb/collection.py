"""A collection in this process: items in, hits out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from embeddb.analysis import Analysis
from embeddb.calls import CollectionCalls
from embeddb.cut import Found
from embeddb.errors import (
    AlreadyExistsError,
    EmbeddbError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from embeddb.fused import FusedRetrieval
from embeddb.index import check_factory
from embeddb.ingest import Ingest
from embeddb.models import EmbedRequest, Priority, Registry
from embeddb.query import (
    CollectionInfo,
    CollectionSettings,
    Embedding,
    Hit,
    Image,
    ItemPage,
    Modality,
    ModelInfo,
    PutItem,
    PutResult,
    Search,
    SpaceStats,
    StoredItem,
    Text,
    View,
)
from embeddb.questions import Question
from embeddb.retrieval import Retrieval
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore, Committed, Delete, Record

__all__ = ["Collection"]

A = TypeVar("A")

# An item whose content is to be embedded weighs more than one that comes with its features.
BATCH_ITEMS = 1000
BATCH_CONTENTS = 64
BATCH_DELETES = 1000
MAX_PAGE = 1000


class Collection(CollectionCalls):
    """A set of items and the models that embed them; made by `Database`.

    Args:
        name: of the collection.
        models: those that embed its items; the first is searched by default.
        settings: what was decided when it was made.
        store: its storage.
        registry: runs contents through models.
        save: keeps a new list of model names in the catalogue.
    """

    def __init__(
        self,
        name: str,
        models: Sequence[ModelInfo],
        settings: CollectionSettings,
        store: CollectionStore,
        registry: Registry,
        save: Callable[[list[str]], None],
    ) -> None:
        self.name = name
        self._settings = settings
        self._store = store
        self._selection = Selection(store)
        self._registry = registry
        self._save = save
        self._changing_models = threading.Lock()
        self._models: dict[str, ModelInfo] = {}
        self._spaces: dict[str, Space] = {}
        for model in models:
            self._open_space(model)
        store.listen(self._apply)

    # -- Items ------------------------------------------------------------------------------------------

    def put_many(  # noqa: D102 - documented in CollectionCalls
        self,
        items: Iterable[PutItem],
        *,
        on_progress: Callable[[Sequence[PutResult]], None] | None = None,
    ) -> list[PutResult]:
        results: list[PutResult] = []
        for batch in _batches(items):
            done = Ingest(self.name, self._models, self._settings, self._store, self._registry).put(batch)
            results.extend(done)
            if on_progress is not None:
                on_progress(done)
        return results

    def get_many(  # noqa: D102 - documented in CollectionCalls
        self, item_ids: Sequence[str], *, view: View | None = None
    ) -> list[StoredItem | EmbeddbError]:
        records = self._store.get(item_ids)
        items = iter(self._items([record for record in records if record is not None], view or View()))
        return [
            NotFoundError("item", item_id) if record is None else next(items)
            for item_id, record in zip(item_ids, records, strict=True)
        ]

    def delete_many(self, item_ids: Sequence[str]) -> list[EmbeddbError | None]:  # noqa: D102
        written = self._store.write([Delete(item_id) for item_id in item_ids])
        return [
            NotFoundError("item", item_id) if each.replaced is None else None
            for item_id, each in zip(item_ids, written, strict=True)
        ]

    def delete_where(self, filter: str) -> int:  # noqa: A002, D102 - documented in CollectionCalls
        rows = self._selection.rows(filter).tolist()
        deleted = 0
        for start in range(0, len(rows), BATCH_DELETES):
            records = self._store.by_rows(rows[start : start + BATCH_DELETES])
            # An item that was replaced since then is another one, which may not satisfy the filter.
            deletes = [Delete(record.id, record.row) for record in records if record is not None]
            if deletes:
                deleted += sum(each.replaced is not None for each in self._store.write(deletes))
        return deleted

    def list_items(  # noqa: D102 - documented in CollectionCalls
        self, *, page_size: int = 100, page_token: str = "", prefix: str = "", view: View | None = None
    ) -> ItemPage:
        if not 1 <= page_size <= MAX_PAGE:
            raise InvalidArgumentError("page_size", page_size, f"must be 1 to {MAX_PAGE}")
        # One more than the page tells whether there is another.
        records = self._store.list_records(after=page_token, limit=page_size + 1, prefix=prefix)
        page = records[:page_size]
        token = page[-1].id if len(records) > page_size else ""
        return ItemPage(self._items(page, view or View()), token)

    # -- Search -----------------------------------------------------------------------------------------

    def search_many(self, search: Search) -> list[list[Hit] | EmbeddbError]:  # noqa: D102
        answers = self._answers(search)
        wanted = {found.row for answer in answers if not isinstance(answer, EmbeddbError) for found in answer}
        # A row that was deleted since the index was asked is gone, and so is its hit.
        records = [record for record in self._store.by_rows(wanted) if record is not None]
        items = dict(zip((r.row for r in records), self._items(records, search.view), strict=True))
        return [
            answer
            if isinstance(answer, EmbeddbError)
            else [
                Hit(items[each.row], each.score, each.explanation, each.group, each.model)
                for each in answer
                if each.row in items
            ]
            for answer in answers
        ]

    def _answers(self, search: Search) -> list[list[Found] | EmbeddbError]:
        if search.fusion is None:
            return Retrieval(search, self._space(search.model), self._store, self._selection).answer()
        spaces = {model: self._space(model) for model in search.fusion.models}
        return FusedRetrieval(search, search.fusion, spaces, self._store, self._selection).answer()

    # -- Other questions --------------------------------------------------------------------------------

    def ask(self, question: Question[A]) -> A:  # noqa: D102 - documented in CollectionCalls
        return Analysis(self._space(question.model), self._store, self._selection, self._registry).answer(
            question
        )

    # -- Models -----------------------------------------------------------------------------------------

    def add_model(self, model: str) -> None:  # noqa: D102 - documented in CollectionCalls
        with self._changing_models:
            if model in self._models:
                raise AlreadyExistsError(f"model of collection {self.name!r}", model)
            info = self._registry.info(model)
            check_factory(self._settings.index, info.dimension)
            count = self._store.count()
            if count:
                raise FailedPreconditionError(
                    f"collection {self.name!r} has {count:,} items that model {model!r} has not embedded; "
                    f"make a collection with it and put them there"
                )
            self._open_space(info)
            self._save(list(self._models))

    def info(self) -> CollectionInfo:  # noqa: D102 - documented in CollectionCalls
        return CollectionInfo(self.name, tuple(self._models), self._store.count(), self._settings)

    def space_stats(self) -> list[SpaceStats]:
        """The figures of each space, in the order of the models."""
        return [space.stats() for space in self._spaces.values()]

    def settle(self) -> None:
        """Return when every index is as the settings want it, if nothing is written meanwhile."""
        for space in self._spaces.values():
            space.settle()

    def close(self) -> None:
        """Answer the searches that wait; the store is the caller's to close."""
        for space in self._spaces.values():
            space.close()

    # -- Inside -----------------------------------------------------------------------------------------

    def _open_space(self, model: ModelInfo) -> None:
        self._store.create_space(model.name, model.dimension, model.fingerprint, self._settings.encoding)
        space = Space(model.name, model.dimension, self._store, self._embed_query, self._settings)
        # New dicts, since the commits' thread and searches iterate over the old ones.
        self._spaces = {**self._spaces, model.name: space}
        self._models = {**self._models, model.name: model}

    def _apply(self, committed: Committed) -> None:
        for space in self._spaces.values():
            space.apply(committed)

    def _embed_query(self, requests: Sequence[EmbedRequest]) -> Sequence[dict[str, Embedding] | EmbeddbError]:
        return self._registry.embed(requests, Priority.QUERY)

    def _space(self, model: str | None) -> Space:
        if not self._spaces:
            raise FailedPreconditionError(
                f"collection {self.name!r} has no models; register one and add it to the collection"
            )
        if model is None:
            return next(iter(self._spaces.values()))
        if model not in self._spaces:
            raise NotFoundError(f"model of collection {self.name!r}", model, list(self._spaces))
        return self._spaces[model]

    def _items(self, records: Sequence[Record], view: View) -> list[StoredItem]:
        """What a view shows of records."""
        rows = [record.row for record in records]
        payloads = self._store.payloads(rows) if view.payload else [None] * len(rows)
        features = {
            model: self._store.features(model, rows) if view.features else {} for model in self._spaces
        }
        return [
            StoredItem(
                id=record.id,
                metadata=json.loads(record.metadata_json),
                modality=record.modality,
                payload=_content(record.modality, payload),
                features={
                    model: vectors[record.row] for model, vectors in features.items() if record.row in vectors
                },
                predictions=record.predictions if view.predictions else {},
            )
            for record, payload in zip(records, payloads, strict=True)
        ]


def _content(modality: Modality | None, payload: bytes | None) -> Image | Text | None:
    if payload is None:
        return None
    return Text(payload.decode()) if modality is Modality.TEXT else Image(payload)


def _batches(items: Iterable[PutItem]) -> Iterator[list[PutItem]]:
    """Cut a stream of items into what is embedded and written together."""
    batch: list[PutItem] = []
    contents = 0
    for item in items:
        batch.append(item)
        contents += item.content is not None
        if len(batch) == BATCH_ITEMS or contents == BATCH_CONTENTS:
            yield batch
            batch, contents = [], 0
    if batch:
        yield batch
