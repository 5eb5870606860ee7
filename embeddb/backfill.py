"""Embedding what is stored already with a model that came later, in the background.

The items that lack features of the model are read in the order of rows, embedded from their payloads, and
put again with what they had and what is new. A put is refused by storage if its item was replaced meanwhile,
so nothing that is written during a backfill is lost; and an item whose features are there is passed over, so
a backfill that was cut off goes on where it stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from embeddb.errors import EmbeddbError, FailedPreconditionError, InternalError
from embeddb.models import EmbedRequest, Priority, Registry
from embeddb.query import (
    Backfill,
    BackfillState,
    Embedding,
    ModelInfo,
    PutResult,
    PutStatus,
    stored_content,
)
from embeddb.storage import CollectionStore, Put, Record

__all__ = ["BackfillJob"]

BATCH_ITEMS = 64
MAX_LISTED = 1000
"""Most items without features that a backfill names; it counts them all."""

log = logging.getLogger(__name__)


@dataclass
class _Figures:
    """What a backfill has done so far."""

    state: BackfillState = BackfillState.RUNNING
    items: int = 0
    done: int = 0
    embedded: int = 0
    missing: int = 0
    listed: list[PutResult] = field(default_factory=list)
    seconds: float = 0.0
    error: EmbeddbError | None = None


class BackfillJob:
    """Embeds a collection's items with one model, on a thread of its own.

    Args:
        collection: its name, for the logs.
        model: the model; it has a space in the collection.
        store: the collection's storage.
        registry: runs contents through models.
        putting: gives the models that a write has to heed, and keeps their spaces until it is done.
        settled: returns when no put is under way that does not know of the model yet.
        completed: called once every item that can be embedded is, before `progress` says so.
    """

    def __init__(
        self,
        collection: str,
        model: ModelInfo,
        store: CollectionStore,
        registry: Registry,
        putting: Callable[[], AbstractContextManager[Mapping[str, ModelInfo]]],
        settled: Callable[[], None],
        completed: Callable[[], None],
    ) -> None:
        self._collection = collection
        self._model = model
        self._store = store
        self._registry = registry
        self._putting = putting
        self._settled = settled
        self._completed = completed
        self._figures = _Figures(items=store.count())
        self._started = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"backfill-{collection}-{model.name}", daemon=True
        )
        self._thread.start()

    def progress(self) -> Backfill:
        """How far it is."""
        figures = self._figures
        running = figures.state is BackfillState.RUNNING
        return Backfill(
            model=self._model.name,
            state=figures.state,
            items=figures.items,
            done=figures.done,
            embedded=figures.embedded,
            missing=figures.missing,
            listed=tuple(figures.listed),
            seconds=time.monotonic() - self._started if running else figures.seconds,
            error=figures.error,
        )

    def cancel(self) -> None:
        """Have it stop after the batch that is under way."""
        self._stopping.set()

    def join(self) -> None:
        """Return when its thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        figures = self._figures
        try:
            self._settled()
            for records in self._batches():
                self._embed(records)
                if self._stopping.is_set():
                    raise FailedPreconditionError("it was stopped; run it again to go on")
            self._completed()
            state = BackfillState.COMPLETE
        except Exception as error:
            state = BackfillState.FAILED
            figures.error = error if isinstance(error, EmbeddbError) else InternalError(str(error))
            level = logging.INFO if self._stopping.is_set() else logging.ERROR
            log.log(level, "backfill of %s in %s: %s", self._model.name, self._collection, error)
        figures.seconds = time.monotonic() - self._started
        figures.state = state

    def _batches(self) -> Iterator[list[Record]]:
        """The items as they are now, in the order of rows; what is put from now on has its features."""
        last, row = self._store.last_row(), -1
        while row < last:
            records = self._store.records_after(row, BATCH_ITEMS)
            if not records:
                return
            row = records[-1].row
            yield [record for record in records if record.row <= last]

    def _embed(self, records: Sequence[Record]) -> None:
        """Embed those of a batch that lack features, and put them again."""
        there = self._store.features(self._model.name, [record.row for record in records])
        lacking = [record for record in records if record.row not in there]
        payloads = dict(zip(lacking, self._store.payloads([record.row for record in lacking]), strict=True))
        requests = {}
        for record, payload in payloads.items():
            if record.modality is None or payload is None:
                self._list(record, FailedPreconditionError("its payload is not stored; put the item again"))
            elif record.modality in self._model.modalities:
                requests[record] = EmbedRequest(stored_content(record.modality, payload), [self._model.name])
        # A model that is not available ends the backfill; a content that cannot be embedded does not.
        self._registry.get(self._model.name)
        outcomes = self._registry.embed(list(requests.values()), Priority.BULK) if requests else []
        embedded = {}
        for record, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, EmbeddbError):
                self._list(record, outcome)
            else:
                embedded[record] = outcome[self._model.name]
        with self._putting() as models:
            # One that was dropped meanwhile is stopped, too.
            if embedded and self._model.name in models:
                written = self._store.write(self._puts(embedded, models))
                self._figures.embedded += sum(row is not None for row in written.rows)
        self._figures.done += len(records)

    def _puts(self, embedded: Mapping[Record, Embedding], models: Iterable[str]) -> list[Put]:
        """Items again, each with its embedding."""
        name = self._model.name
        again = self._store.again(list(embedded), models)
        return [
            put._replace(
                features={**put.features, name: embedding.features},
                predictions={**put.predictions, name: embedding.predictions}
                if embedding.predictions
                else put.predictions,
            )
            for put, embedding in zip(again, embedded.values(), strict=True)
        ]

    def _list(self, record: Record, error: EmbeddbError) -> None:
        self._figures.missing += 1
        if len(self._figures.listed) < MAX_LISTED:
            self._figures.listed.append(PutResult(record.id, PutStatus.FAILED, error))
