"""A collection in this process: items in, hits out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from embeddb.annotation import Annotation
from embeddb.answers.analysis import Analysis
from embeddb.answers.columns import hit_columns, item_columns
from embeddb.answers.cut import Found
from embeddb.answers.fused import FusedRetrieval
from embeddb.answers.retrieval import Retrieval
from embeddb.arguments import check, checked
from embeddb.calls import CollectionCalls
from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb.ingest import Ingest
from embeddb.models import Registry
from embeddb.precedence import searches
from embeddb.progress import stepping
from embeddb.query import (
    Backfill,
    CollectionInfo,
    CollectionSettings,
    HitColumns,
    Hits,
    ItemPage,
    PutItem,
    PutResults,
    Search,
    SpaceStats,
    StoredItem,
    View,
    check_id,
    check_page_size,
)
from embeddb.questions import OnProgress, Question
from embeddb.selection import Selection
from embeddb.spaces import Spaces
from embeddb.storage import CollectionStore, Delete

__all__ = ["Collection"]

A = TypeVar("A")

# An item whose content is to be embedded weighs more than one that comes with its features.
BATCH_ITEMS = 1000
BATCH_CONTENTS = 64
BATCH_DELETES = 1000
# A page whose payloads take more ends early: a thousand of them may take 64 GB, and a message has to hold it.
MAX_PAGE_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class _Begun:
    """A batch of puts that is being written.

    Attributes:
        ids: of its items.
        written: waits for the write, and gives its results.
        putting: lets backfills know of the batch until then.
    """

    ids: Set[str]
    written: Callable[[], PutResults]
    putting: ExitStack

    def finish(self) -> PutResults:
        """Wait until it is durable and searchable."""
        with self.putting:
            return self.written()


class Collection(CollectionCalls):
    """A set of items and the models that embed them; made by `Database`.

    Args:
        name: of the collection.
        settings: what was decided when it was made.
        spaces: its spaces, one for each model that embeds its items.
        store: its storage.
        registry: runs contents through models.
    """

    def __init__(
        self,
        name: str,
        settings: CollectionSettings,
        spaces: Spaces,
        store: CollectionStore,
        registry: Registry,
    ) -> None:
        self.name = name
        self._settings = settings
        self._spaces = spaces
        self._store = store
        self._registry = registry
        self._selection = Selection(store, lambda: spaces.models)
        # Not before: what a filter kept is compared with the last commit, and a backfill commits.
        spaces.resume()

    # -- Items ------------------------------------------------------------------------------------------

    @checked
    def put_many(  # noqa: D102 - documented in CollectionCalls
        self,
        items: Iterable[PutItem],
        *,
        on_progress: Callable[[PutResults], None] | None = None,
    ) -> PutResults:
        results: list[PutResults] = []

        def finish(begun: _Begun) -> None:
            done = begun.finish()
            results.append(done)
            if on_progress is not None:
                on_progress(done)

        # While one batch is committed the next is embedded: neither disk nor processor waits for the other.
        under_way: deque[_Begun] = deque()
        try:
            for batch in _batches(items):
                ids = {item.id for item in batch}
                if under_way and not ids.isdisjoint(under_way[0].ids):
                    finish(under_way.popleft())
                under_way.append(self._begin(batch, ids))
                if len(under_way) > 1:
                    finish(under_way.popleft())
        finally:
            while under_way:
                finish(under_way.popleft())
        return PutResults.joined(results)

    @checked
    def get_many(  # noqa: D102 - documented in CollectionCalls
        self, item_ids: Sequence[str], *, view: View | None = None
    ) -> list[StoredItem | EmbeddbError]:
        refused = _refused(item_ids)
        asked = [item_id for item_id in item_ids if item_id not in refused]
        records = dict(zip(asked, self._store.get(asked), strict=True))
        found = [record for record in records.values() if record is not None]
        columns = item_columns(found, view or View(), self._store, self._spaces.models)
        items = dict(zip(columns.ids, columns.items(), strict=True))
        return [
            refused.get(item_id) or items.get(item_id) or NotFoundError("item", item_id)
            for item_id in item_ids
        ]

    @checked
    def delete_many(self, item_ids: Sequence[str]) -> list[EmbeddbError | None]:  # noqa: D102
        refused = _refused(item_ids)
        asked = [item_id for item_id in item_ids if item_id not in refused]
        dead = iter(self._store.write([Delete(item_id) for item_id in asked]).replaced if asked else ())
        return [
            refused.get(item_id) or (NotFoundError("item", item_id) if next(dead) is None else None)
            for item_id in item_ids
        ]

    @checked
    def delete_where(self, filter: str, *, dry_run: bool = False) -> int:  # noqa: A002, D102 - as above
        rows = self._selection.rows(filter).tolist()
        if dry_run:
            return sum(record is not None for record in self._store.by_rows(rows))
        deleted = 0
        for start in range(0, len(rows), BATCH_DELETES):
            records = self._store.by_rows(rows[start : start + BATCH_DELETES])
            # An item that was replaced since then is another one, which may not satisfy the filter.
            deletes = [Delete(record.id, record.row) for record in records if record is not None]
            if deletes:
                deleted += sum(row is not None for row in self._store.write(deletes).replaced)
        return deleted

    @checked
    def list_items(  # noqa: D102 - documented in CollectionCalls
        self, *, page_size: int = 100, page_token: str = "", prefix: str = "", view: View | None = None
    ) -> ItemPage:
        # One more than the page tells whether there is another.
        records = self._store.list_records(
            after=page_token, limit=check_page_size(page_size) + 1, prefix=prefix
        )
        page = records[:page_size]
        if view is not None and view.payload:
            page = page[: self._store.fitting((record.row for record in page), MAX_PAGE_BYTES)]
        token = page[-1].id if len(records) > len(page) else ""
        columns = item_columns(page, view or View(), self._store, self._spaces.models)
        return ItemPage(columns.items(), token)

    # -- Search -----------------------------------------------------------------------------------------

    @checked
    def search_many(self, search: Search) -> list[Hits | EmbeddbError]:  # noqa: D102
        return self.search_columns(search).hits()

    def search_columns(self, search: Search, *, here: bool = False) -> HitColumns:
        """Answer a batch of expressions as `search_many` does, without an object for each hit.

        Args:
            here: whether to stay on the calling thread where `is_prompt` is true of a lone search.

        Raises:
            EmbeddbError: as `search_many` does.
        """
        with searches:
            return hit_columns(self._answers(search, here), search.view, self._store, self._spaces.models)

    def is_prompt(self, model: str | None) -> bool:
        """Whether a lone search by a vector would be answered on its caller's thread, at this moment.

        Args:
            model: whose space to search; None for the first one's.

        Raises:
            NotFoundError, FailedPreconditionError: as the search would.
        """
        return self._store.is_open and self._spaces.get(model).is_prompt

    def _answers(self, search: Search, here: bool) -> list[Found | EmbeddbError]:
        if search.fusion is None:
            space = self._spaces.get(search.model)
            return Retrieval(search, space, self._store, self._selection, here=here).answer()
        spaces = {model: self._spaces.get(model) for model in search.fusion.models}
        return FusedRetrieval(search, search.fusion, spaces, self._store, self._selection).answer()

    # -- Other questions --------------------------------------------------------------------------------

    @checked
    def ask(  # noqa: D102 - documented in CollectionCalls
        self, question: Question[A], *, on_progress: OnProgress | None = None
    ) -> A:
        space = self._spaces.get(question.model)
        annotation = Annotation(self._store, self._spaces.putting)
        return Analysis(
            space, self._store, self._selection, self._registry, annotation, stepping(on_progress)
        ).answer(question)

    # -- Models -----------------------------------------------------------------------------------------

    @checked
    def add_model(self, model: str) -> None:  # noqa: D102 - documented in CollectionCalls
        self._spaces.add(model)

    @checked
    def backfill(self, model: str) -> Backfill:  # noqa: D102 - documented in CollectionCalls
        return self._spaces.backfill(model)

    def backfills(self) -> list[Backfill]:  # noqa: D102 - documented in CollectionCalls
        return self._spaces.backfills()

    @checked
    def drop_model(  # noqa: D102 - documented in CollectionCalls
        self, model: str, *, replaced_by: str | None = None, force: bool = False
    ) -> None:
        self._spaces.drop(model, replaced_by, force=force)

    def info(self) -> CollectionInfo:  # noqa: D102 - documented in CollectionCalls
        return CollectionInfo(self.name, tuple(self._spaces.models), self._store.count(), self._settings)

    def space_stats(self) -> list[SpaceStats]:
        """The figures of each space, in the order of the models."""
        return [space.stats() for space in self._spaces]

    def settle(self) -> None:
        """Return when every index is as the settings want it, if nothing is written meanwhile."""
        for space in self._spaces:
            space.settle()

    def close(self) -> None:
        """Stop the backfills and answer the searches that wait; the store is the caller's to close."""
        self._spaces.close()
        self._selection.close()

    # -- Inside -----------------------------------------------------------------------------------------

    def _begin(self, batch: Sequence[PutItem], ids: Set[str]) -> _Begun:
        with ExitStack() as putting:
            models = putting.enter_context(self._spaces.putting())
            ingest = Ingest(self.name, models, self._settings, self._store, self._registry)
            return _Begun(ids, ingest.begin(batch), putting.pop_all())


def _refused(item_ids: Sequence[str]) -> dict[str, EmbeddbError]:
    """What is wrong with those that are no ids."""
    refused: dict[str, EmbeddbError] = {}
    for item_id in item_ids:
        try:
            check_id(item_id)
        except InvalidArgumentError as error:
            refused[item_id] = error
    return refused


def _batches(items: Iterable[PutItem]) -> Iterator[list[PutItem]]:
    """Cut a stream of items into what is embedded and written together."""
    batch: list[PutItem] = []
    contents = 0
    for item in items:
        batch.append(check("items", item, PutItem))
        contents += item.content is not None
        if len(batch) == BATCH_ITEMS or contents == BATCH_CONTENTS:
            yield batch
            batch, contents = [], 0
    if batch:
        yield batch
