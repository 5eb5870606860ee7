"""The front door: a data folder's models and collections, in this process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from embeddb.arguments import check, checked
from embeddb.batching import QueueFigures
from embeddb.catalogue_records import CollectionRecord, model_from, model_record
from embeddb.collection import Collection
from embeddb.copies import Copies
from embeddb.errors import (
    AlreadyExistsError,
    EmbeddbError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    or_raise,
)
from embeddb.index import check_factory, find_gpu
from embeddb.models import (
    EmbedRequest,
    ModelSettings,
    Priority,
    Registry,
    TextCacheFigures,
)
from embeddb.options import choice
from embeddb.progress import stepping
from embeddb.query import (
    BackupInfo,
    CollectionInfo,
    CollectionSettings,
    Embedding,
    Finding,
    ModelInfo,
    RunOptions,
    Stats,
    as_content,
    check_device,
    check_name,
    check_names,
    json_text,
)
from embeddb.questions import OnProgress
from embeddb.spaces import Spaces
from embeddb.storage import DataFolder, Durability, Use, of_each
from embeddb.version import __version__

__all__ = ["Database"]

DEFAULT = "default"

log = logging.getLogger(__name__)


class Database:
    """A data folder, open in this process. Thread-safe; a context manager.

    Args:
        path: the data folder, made if it is not there.
        models: what the operator decides about models.
        durability: when a write is on the disk.
        index_device: where indexes are searched; see `embeddb.open`.

    Raises:
        FailedPreconditionError: another process has the folder open, or its format is newer.
        DataLossError: its files are damaged.
        InvalidArgumentError: the path is none, or the device is not written like these.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        models: ModelSettings | None = None,
        durability: Durability | Literal["sync", "async"] = Durability.SYNC,
        index_device: str = "auto",
    ) -> None:
        if check("path", path, str | Path) == "":
            # To Python that is the folder where the process happens to run.
            raise InvalidArgumentError("path", path, "must be a folder; where the process runs it is '.'")
        self._started = time.monotonic()
        self._lock = threading.RLock()
        self._closed = False
        check_device("index_device", index_device)
        self._gpu = find_gpu(index_device)
        self._folder = DataFolder(path, choice("durability", Durability, durability))
        self._copies = Copies(self._folder)
        self._registry = Registry(models or ModelSettings(), self._folder.catalogue.choices)
        self._collections: dict[str, Collection] = {}
        try:
            for record in self._folder.catalogue.models().values():
                self._registry.restore(model_from(record))
            if DEFAULT not in self._folder.catalogue.collections():
                self._folder.create_collection(DEFAULT, CollectionRecord(CollectionSettings()).plain())
            for name, record in self._folder.catalogue.collections().items():
                self._open_collection(name, CollectionRecord.of(record))
        except BaseException:
            self.close()
            raise

    # -- Models -----------------------------------------------------------------------------------------

    @checked
    def register_model(
        self, name: str, spec: Mapping[str, Any], options: RunOptions | None = None
    ) -> ModelInfo:
        """Load a model and keep its spec, so that it is there when the folder is opened again.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -.
            spec: plain data with the key "loader"; the rest is that loader's (see docs/models.md).
            options: where and how it is to be run; everything is chosen for it if None.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the spec is malformed, or the model has nothing to compile.
            FailedPreconditionError: weights, packages or the device are missing, or it does not run as the
                options say.
        """
        check_name("model.name", name)
        json_text("spec", spec)
        # Loading takes seconds or minutes, and nobody else should wait for it: no lock is held.
        info = self._registry.register(name, spec, options or RunOptions())
        try:
            self._folder.catalogue.put_model(name, model_record(info))
        except BaseException:
            self._registry.remove(name)
            raise
        return info

    def models(self) -> list[ModelInfo]:
        """All registered models, in the order of names."""
        return self._registry.infos()

    @checked
    def model(self, name: str) -> ModelInfo:
        """One registered model.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._registry.info(name)

    @checked
    def load_model(self, name: str) -> ModelInfo:
        """Load a model that is not loaded, even where that failed before.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it cannot be loaded, or its weights are not those that were registered.
        """
        self._registry.load(name)
        return self.model(name)

    @checked
    def unload_model(self, name: str) -> ModelInfo:
        """Free a model's memory once what is queued is done; its next use loads it again.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._registry.unload(name)
        return self.model(name)

    @checked
    def remove_model(self, name: str) -> None:
        """Unload and forget a model.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: a collection uses it.
        """
        with self._lock, self._registry.in_use:
            self.model(name)
            users = [info.name for info in self.collections() if name in info.models]
            if users:
                raise FailedPreconditionError(
                    f"model {name!r} embeds the items of {', '.join(users)}; drop it from there first"
                )
            self._folder.catalogue.delete_model(name)
            self._registry.remove(name)

    def embed(self, model: str, content: object) -> Embedding:
        """Run one content through a model, storing nothing; see `embed_many`."""
        return or_raise(self.embed_many(model, [content])[0])

    @checked
    def embed_many(self, model: str, contents: Sequence[object]) -> list[Embedding | EmbeddbError]:
        """Run contents through a model, storing nothing.

        Args:
            contents: images and texts, or what makes them (see `embeddb.query.as_content`).

        Returns:
            One embedding a content, an error in the place of each that failed.
        """
        self.model(model)
        requests = [EmbedRequest(as_content(content), [model]) for content in contents]
        outcomes = self._registry.embed(requests, Priority.QUERY)
        return [each if isinstance(each, EmbeddbError) else each[model] for each in outcomes]

    # -- Collections ------------------------------------------------------------------------------------

    @checked
    def create_collection(
        self, name: str, models: Sequence[str] = (), settings: CollectionSettings | None = None
    ) -> Collection:
        """Make a collection whose items these registered models embed; the first is searched by default.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -.
            models: names of registered models.
            settings: what stays as it is decided now; the defaults if None.

        Raises:
            AlreadyExistsError: the name is taken.
            NotFoundError: a model is not registered.
            InvalidArgumentError: a model is there twice, or the index does not fit its dimension.
        """
        check_name("collection.name", name)
        chosen = check_names("models", models)
        with self._lock:
            if name in self._collections:
                raise AlreadyExistsError("collection", name)
            settings = settings or CollectionSettings()
            for model in chosen:
                check_factory(settings.index, self.model(model).dimension)
            record = CollectionRecord(settings, tuple(chosen))
            self._folder.create_collection(name, record.plain())
            return self._open_collection(name, record)

    @checked
    def collection(self, name: str = DEFAULT) -> Collection:
        """The collection of that name.

        Raises:
            NotFoundError: there is none.
        """
        collection = self._collections.get(name)
        if collection is None:
            raise NotFoundError("collection", name, list(self._collections))
        return collection

    def collections(self) -> list[CollectionInfo]:
        """All collections, in the order of names."""
        return list(of_each(self._collections, Collection.info).values())

    @checked
    def drop_collection(self, name: str) -> None:
        """Delete a collection with all its items.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it is the default collection.
        """
        with self._lock:
            self.collection(name)
            if name == DEFAULT:
                raise FailedPreconditionError(
                    f"collection {DEFAULT!r} is always there; delete its items instead"
                )
            self._collections.pop(name).close()
            self._folder.drop_collection(name)

    # -- Figures ----------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The database's figures."""
        figures = of_each(self._collections, lambda each: (each.info(), tuple(each.space_stats())))
        return Stats(
            version=__version__,
            uptime_seconds=time.monotonic() - self._started,
            bytes_on_disk=self._folder.bytes_on_disk(),
            models=tuple(self.models()),
            collections=tuple(info for info, _ in figures.values()),
            spaces={name: spaces for name, (_, spaces) in figures.items()},
        )

    def queues(self) -> dict[str, QueueFigures]:
        """What the queues before the models have done, by their names."""
        return self._registry.queues()

    def storage_use(self) -> dict[str, Use]:
        """What LMDB takes for each collection, by its name."""
        return self._folder.use()

    def text_caches(self) -> dict[str, TextCacheFigures]:
        """What the loaded models' caches of texts hold and have done, by the models' names."""
        return self._registry.text_caches()

    # -- Copies of the data -----------------------------------------------------------------------------

    def backup(self, target: str | Path) -> None:
        """Copy the data folder while it is being used; each collection as it is at one moment.

        Args:
            target: a folder that is not there yet, or is empty; it can be opened as a data folder.

        Raises:
            AlreadyExistsError: there is something at `target`.
            FailedPreconditionError: a collection was created or dropped meanwhile.
            ResourceExhaustedError: the disk is full.
        """
        self._copies.backup(Path(target))

    @checked
    def save_backup(self, name: str, *, on_progress: OnProgress | None = None) -> BackupInfo:
        """Make a backup under a name, in the folder `backups/` of the data folder; see `backup`.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -.
            on_progress: is told how many collections are copied, on this thread.

        Raises:
            AlreadyExistsError: the name is taken.
            ResourceExhaustedError: the disk is full.
        """
        check_name("backup.name", name)
        return self._copies.save_backup(name, stepping(on_progress))

    def verify_data(self, *, on_progress: OnProgress | None = None) -> list[Finding]:
        """Check everything that is stored against its checksums and against one another, while it is used.

        What is checked is a copy, as of one moment, which takes as much room on the disk meanwhile. Nothing
        is repaired: that takes a folder that no process has open (`embeddb.storage.verify`).

        Args:
            on_progress: is told how many collections are copied and then checked, on this thread.

        Returns:
            What is wrong; nothing if all is sound.

        Raises:
            ResourceExhaustedError: the disk is full.
        """
        return self._copies.verify(stepping(on_progress))

    # -- The end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish what is under way and close; the database cannot be used after. Once more does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for collection in self._collections.values():
            collection.close()
        self._registry.close()
        self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open_collection(self, name: str, record: CollectionRecord) -> Collection:
        def save(changed: CollectionRecord) -> None:
            self._folder.catalogue.put_collection(name, changed.plain())

        store = self._folder.collection(name)
        log.info("collection %r has %d items", name, store.count())
        spaces = Spaces(name, record, store, self._registry, save, self._gpu)
        self._collections[name] = Collection(name, record.settings, spaces, store, self._registry)
        return self._collections[name]
