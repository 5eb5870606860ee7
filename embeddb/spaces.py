"""The models that embed a collection's items, and their spaces: which there are, and which are complete."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from embeddb.backfill import BackfillJob
from embeddb.catalogue_records import CollectionRecord
from embeddb.errors import AlreadyExistsError, EmbeddbError, FailedPreconditionError, NotFoundError
from embeddb.index import Gpu, check_factory
from embeddb.models import EmbedRequest, Priority, Registry
from embeddb.query import Backfill, BackfillState, Embedding, ModelInfo
from embeddb.space import Space, index_file
from embeddb.storage import CollectionStore, Committed

__all__ = ["Spaces"]


class Spaces:
    """One space for each model of a collection, in the order of the models. Thread-safe.

    A space whose model came after the items is filled by a backfill, and searched once that is complete.

    Args:
        collection: its name.
        record: what the catalogue keeps of it. The first model whose space is complete is searched by
            default.
        store: its storage; a space there of no model is a leftover of a crash, and dropped.
        registry: runs contents through models.
        save: keeps a new record in the catalogue.
        gpu: where indexes are searched, as far as it has room; None for the processor.
    """

    def __init__(
        self,
        collection: str,
        record: CollectionRecord,
        store: CollectionStore,
        registry: Registry,
        save: Callable[[CollectionRecord], None],
        gpu: Gpu | None,
    ) -> None:
        models = [registry.info(model) for model in record.models]
        self._collection = collection
        self._settings = record.settings
        self._store = store
        self._registry = registry
        self._keep = save
        self._gpu = gpu
        self._changing = threading.RLock()
        # Replaced and never changed, since the commits' thread and searches iterate over them.
        self.models: dict[str, ModelInfo] = {}
        self._spaces: dict[str, Space] = {}
        self._filling = frozenset(record.filling)
        self._jobs: dict[str, BackfillJob] = {}
        self._puts: list[object] = []
        self._puts_changed = threading.Condition()
        for leftover in store.spaces().keys() - set(record.models):
            index_file(store, leftover).unlink(missing_ok=True)
            store.drop_space(leftover)
        for model in models:
            self._open(model)
        store.listen(self._apply)

    # -- Spaces -----------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Space]:
        return iter(self._spaces.values())

    def get(self, model: str | None) -> Space:
        """The space to search; of the first model whose space is complete, if none is named.

        Raises:
            NotFoundError: the collection has no such model.
            FailedPreconditionError: the space is being filled, or there are no models at all.
        """
        # As they are at this moment: a model may be dropped meanwhile.
        spaces = self._spaces
        if model is None:
            for name, space in spaces.items():
                if name not in self._filling:
                    return space
            hint = "register one and add it to the collection" if not spaces else "none is complete yet"
            raise FailedPreconditionError(f"collection {self._collection!r} has no models to search: {hint}")
        if model not in spaces:
            raise NotFoundError(f"model of collection {self._collection!r}", model, list(spaces))
        if model in self._filling:
            raise FailedPreconditionError(
                f"model {model!r} has not embedded all items of collection {self._collection!r} yet; it is "
                f"searched once its backfill is complete"
            )
        return spaces[model]

    def close(self) -> None:
        """Stop the backfills, which go on when the collection is opened again, and end the searches."""
        for job in self._jobs.values():
            job.cancel()
        for job in self._jobs.values():
            job.join()
        for space in self:
            space.close()

    @contextmanager
    def putting(self) -> Iterator[dict[str, ModelInfo]]:
        """Give the models that a put has to heed; a backfill waits for puts that do not know its model."""
        this = object()
        with self._puts_changed:
            self._puts.append(this)
            models = self.models
        try:
            yield models
        finally:
            with self._puts_changed:
                self._puts.remove(this)
                self._puts_changed.notify_all()

    # -- Models -----------------------------------------------------------------------------------------

    def add(self, model: str) -> None:
        """Add a model to a collection that holds nothing yet."""
        with self._registry.in_use, self._changing:
            if model in self.models:
                raise AlreadyExistsError(f"model of collection {self._collection!r}", model)
            info = self._info(model)
            count = self._store.count()
            if count:
                raise FailedPreconditionError(
                    f"collection {self._collection!r} has {count:,} items that model {model!r} has not "
                    f"embedded; backfill it"
                )
            self._fill(info)
            # A put that began before does not know the model: what it writes is embedded behind it.
            if self._puts or self._store.count():
                self._start(info)
            else:
                self._complete(model)

    def backfill(self, model: str) -> Backfill:
        """Embed the stored items that lack a model's features; the model is added if need be."""
        with self._registry.in_use, self._changing:
            job = self._jobs.get(model)
            if job is not None and job.progress().state is BackfillState.RUNNING:
                return job.progress()
            if model not in self.models:
                self._fill(self._info(model))
            return self._start(self.models[model]).progress()

    def resume(self) -> None:
        """Go on with the backfills that were cut off when the collection was open before."""
        with self._changing:
            for model in self._filling:
                self._start(self.models[model])

    def backfills(self) -> list[Backfill]:
        """How far the backfills are since the collection was opened, in the order of the models."""
        jobs = self._jobs
        return [jobs[model].progress() for model in self.models if model in jobs]

    def drop(self, model: str, replaced_by: str | None, *, force: bool) -> None:
        """Drop a model with its features; see `CollectionCalls.drop_model`."""
        with self._changing:
            if model not in self.models:
                raise NotFoundError(f"model of collection {self._collection!r}", model, list(self.models))
            if replaced_by is not None:
                self._check_replaces(replaced_by, model, force=force)
            job = self._jobs.get(model)
            if job is not None:
                job.cancel()
            order = [replaced_by if name == model else name for name in self.models if name != replaced_by]
            kept = [name for name in order if name is not None and name != model]
            space = self._spaces[model]
            with self._puts_changed:
                self.models = {name: self.models[name] for name in kept}
            self._spaces = {name: self._spaces[name] for name in kept}
            self._jobs = {name: self._jobs[name] for name in kept if name in self._jobs}
            self._filling -= {model}
            # From here on the features are a leftover, which the next start drops if this one cannot.
            self._save(kept, self._filling)
            self._settle()
            # What the index kept goes first, or else it might be taken up with the next space of this name.
            space.drop()
            self._store.drop_space(model)

    def _check_replaces(self, model: str, old: str, *, force: bool) -> None:
        """Let a model take another's place if nothing is lost by it."""
        if model == old:
            raise FailedPreconditionError(f"model {model!r} cannot replace itself")
        self.get(model)
        if force:
            return
        there = {row for rows, _ in self._store.scan(model) for row in rows.tolist()}
        lost = [row for rows, _ in self._store.scan(old) for row in rows.tolist() if row not in there]
        if lost:
            names = [record.id for record in self._store.by_rows(lost[:5]) if record is not None]
            raise FailedPreconditionError(
                f"{len(lost):,} items have features of model {old!r} and none of {model!r} (such as "
                f"{', '.join(map(repr, names))}) and would not be found any more; put them again, or force it"
            )

    # -- Inside -----------------------------------------------------------------------------------------

    def _info(self, model: str) -> ModelInfo:
        """A registered model, whose features the collection's index can hold."""
        info = self._registry.info(model)
        check_factory(self._settings.index, info.dimension)
        return info

    def _open(self, model: ModelInfo) -> None:
        self._store.create_space(model.name, model.dimension, model.fingerprint, self._settings.encoding)
        space = Space(model.name, model.dimension, self._store, self._embed_query, self._settings, self._gpu)
        self._spaces = {**self._spaces, model.name: space}
        with self._puts_changed:
            self.models = {**self.models, model.name: model}

    def _fill(self, model: ModelInfo) -> None:
        """Make a space that is not complete; every put that begins from now on knows of it."""
        self._filling |= {model.name}
        self._open(model)
        self._save(self.models, self._filling)

    def _complete(self, model: str) -> None:
        with self._changing:
            # Not if it was dropped meanwhile.
            if model in self.models:
                self._save(self.models, self._filling - {model})
                self._filling -= {model}

    def _save(self, models: Iterable[str], filling: Iterable[str]) -> None:
        self._keep(CollectionRecord(self._settings, tuple(models), tuple(filling)))

    def _start(self, model: ModelInfo) -> BackfillJob:
        completed = partial(self._complete, model.name)
        job = BackfillJob(
            self._collection, model, self._store, self._registry, self.putting, self._settle, completed
        )
        self._jobs = {**self._jobs, model.name: job}
        return job

    def _settle(self) -> None:
        """Wait until the puts that are under way now have ended; those that begin later know what changed."""
        with self._puts_changed:
            under_way = list(self._puts)
            while any(put in self._puts for put in under_way):
                self._puts_changed.wait()

    def _apply(self, committed: Committed) -> None:
        # It is committed: a space that cannot follow, for want of memory, must not keep the others from it.
        errors = []
        for space in self:
            try:
                space.apply(committed)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _embed_query(self, requests: Sequence[EmbedRequest]) -> Sequence[dict[str, Embedding] | EmbeddbError]:
        return self._registry.embed(requests, Priority.QUERY)
