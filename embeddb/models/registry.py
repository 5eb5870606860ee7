"""The registered models: each is loaded once, and embeds for every collection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from embeddb.batching import Priority, QueueFigures
from embeddb.deadline import current
from embeddb.errors import (
    AlreadyExistsError,
    EmbeddbError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from embeddb.models.contents import Contents, EmbedRequest
from embeddb.models.given import LOADER, Given
from embeddb.models.loaders import LOADERS
from embeddb.models.recent import TextCacheFigures
from embeddb.models.spec import Spec
from embeddb.query import Embedding, Image, Modality, ModelInfo, RunOptions
from embeddb.settings import ModelSettings

if TYPE_CHECKING:
    from typing import TypeAlias

    from embeddb.models.model import Model
    from embeddb.models.runner import Choices

    Loaded: TypeAlias = Model | Given

__all__ = ["Registry"]

log = logging.getLogger(__name__)


@dataclass
class _Entry:
    """A registered model: what it is, the model itself while it is loaded, and why it could not be loaded."""

    info: ModelInfo
    model: Loaded | None = None
    refusal: str | None = None
    changing: threading.Lock = field(default_factory=threading.Lock)
    idle: threading.Timer | None = None
    removed: bool = False


class Registry:
    """The models by name. Thread-safe; close it to end its threads.

    Models are loaded one at a time, since the libraries that make them change global state while they do;
    those that are loaded go on meanwhile.

    Args:
        settings: the operator's.
        choices: keeps how models run, so that a restart need not measure it; nothing is kept if None.

    Attributes:
        in_use: a lock, held while a collection begins to use a model, and while one without users is removed.
    """

    def __init__(self, settings: ModelSettings, choices: Choices | None = None) -> None:
        self.in_use = threading.Lock()
        self._settings = settings
        self._choices = {} if choices is None else choices
        self._entries: dict[str, _Entry] = {}
        self._names_taken: set[str] = set()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._contents = Contents(settings)

    # -- Models -----------------------------------------------------------------------------------------

    def register(self, name: str, spec: Mapping[str, Any], options: RunOptions) -> ModelInfo:
        """Load a model under a new name.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the spec is malformed, or there is nothing to compile; the message names the
                field.
            FailedPreconditionError: weights, packages or the device are missing, or it does not run as the
                options say.
            PermissionDeniedError: the operator has not allowed it.
        """
        with self._lock:
            if name in self._names_taken:
                raise AlreadyExistsError("model", name)
            self._names_taken.add(name)
        try:
            model = self._make(name, spec, options)
        except BaseException:
            self._names_taken.discard(name)
            raise
        entry = self._entries[name] = _Entry(model.info, model)
        self._watch(entry, model)
        return self.info(name)

    def restore(self, info: ModelInfo) -> None:
        """Have a model again that was registered before; it is loaded now unless its options say later.

        One that cannot be loaded is refused by name from now on, and the others are not affected.
        """
        self._names_taken.add(info.name)
        self._entries[info.name] = _Entry(info)
        if info.options.lazy:
            return
        try:
            self.load(info.name)
        except EmbeddbError as error:
            log.error("%s", error)

    def get(self, name: str) -> Loaded:
        """The model of that name, loaded if it was not.

        Raises:
            NotFoundError: there is none.
            FailedPreconditionError: it could not be loaded; `load` tries again.
        """
        entry = self._entry(name)
        if entry.model is not None:
            return entry.model
        if entry.refusal is not None:
            raise FailedPreconditionError(f"model {name!r} is not available: {entry.refusal}")
        return self.load(name)

    def load(self, name: str) -> Loaded:
        """Load a model that is not loaded, even where that failed before.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it cannot be loaded, or its weights are not those that were registered.
        """
        entry = self._entry(name)
        with entry.changing:
            if entry.removed:
                raise NotFoundError("model", name, list(self._entries))
            if entry.model is None:
                entry.model = self._load_again(entry)
                entry.refusal = None
                self._watch(entry, entry.model)
            return entry.model

    def unload(self, name: str) -> None:
        """Finish what is queued and free a model's memory; its next use loads it again.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._unload(self._entry(name))

    def info(self, name: str) -> ModelInfo:
        """What a model is, and how it runs if it is loaded, or why it cannot be.

        Raises:
            NotFoundError: there is none of that name.
        """
        entry = self._entry(name)
        model = entry.model
        running = None if model is None else model.running
        return replace(entry.info, running=running, refusal=entry.refusal)

    def infos(self) -> list[ModelInfo]:
        """What all models are, in the order of names."""
        return [self.info(name) for name in sorted(self._entries)]

    def remove(self, name: str) -> None:
        """Unload a model and forget it.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._lock:
            entry = self._entry(name)
            del self._entries[name]
        with entry.changing:
            # Another thread may have looked it up before, and be about to load it.
            entry.removed = True
        self._unload(entry)
        with self._lock:
            self._names_taken.discard(name)

    def close(self) -> None:
        """Unload all models."""
        self._contents.close()
        for name in list(self._entries):
            self.unload(name)

    def queues(self) -> dict[str, QueueFigures]:
        """What the loaded models' queues have done since they were loaded, by the queues' names."""
        models = [entry.model for entry in list(self._entries.values()) if entry.model is not None]
        return {name: figures for model in models for name, figures in model.queues().items()}

    def text_caches(self) -> dict[str, TextCacheFigures]:
        """What the loaded models' caches of texts have done since they were loaded, by the models' names."""
        models = [entry.model for entry in list(self._entries.values())]
        loaded = [model for model in models if not isinstance(model, Given | None)]
        reading = [model for model in loaded if Modality.TEXT in model.info.modalities]
        return {model.info.name: model.text_cache() for model in reading}

    # -- Contents ---------------------------------------------------------------------------------------

    def embed(
        self, requests: Sequence[EmbedRequest], priority: Priority
    ) -> list[dict[str, Embedding] | EmbeddbError]:
        """Embed contents, each by its models; more than one batch of them is a bulk load in any case.

        Returns:
            One an element, in order: the embeddings by model name, or why there are none. One that fails
            does not disturb its neighbours; where one model fails on a content, the content fails.

        Raises:
            DeadlineExceededError, CancelledError: nobody waits for the answer any more (`embeddb.deadline`).
        """
        deadline = current()
        # All calls borrow in one order, or two could wait for each other: a model that is being unloaded
        # waits for those that have borrowed it.
        names = sorted({name for request in requests for name in request.models})
        with ExitStack() as until_done:
            # Here and not where images are decoded, where a model that has to be loaded would hold up others.
            models = {name: self._borrow(name, until_done) for name in names}
            outcomes = self._contents.embed(requests, models, priority, deadline)
        deadline.check()
        return outcomes

    def cut(self, images: Sequence[Image]) -> list[Image | EmbeddbError]:
        """See `Contents.cut`."""
        return self._contents.cut(images)

    # -- Inside -----------------------------------------------------------------------------------------

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFoundError("model", name, list(self._entries))
        return entry

    def _borrow(self, name: str, until: ExitStack) -> Model | EmbeddbError:
        """A model that is not unloaded until then, or why there is none."""
        try:
            while True:
                model = self.get(name)
                if isinstance(model, Given):
                    return InvalidArgumentError("model", name, "encodes nothing: its features are given")
                # It may have been unloaded since, and then is loaded again.
                if model.usage.enter():
                    until.callback(model.usage.leave)
                    return model
        except EmbeddbError as error:
            return error

    def _watch(self, entry: _Entry, model: Loaded) -> None:
        """Look again when a model may have been unused for as long as its options allow."""
        limit = entry.info.options.unload_after
        if limit is not None:
            left = max(0.0, limit - model.usage.idle_seconds())
            entry.idle = threading.Timer(left, self._unload_if_idle, [entry, model, limit])
            entry.idle.daemon = True
            entry.idle.start()

    def _unload_if_idle(self, entry: _Entry, model: Loaded, limit: float) -> None:
        idle = model.usage.idle_seconds()
        if idle >= limit:
            log.info("model %r: not used for %.1f s", entry.info.name, idle)
            self._unload(entry, model)
            return
        with entry.changing:
            if entry.model is model:
                self._watch(entry, model)

    def _unload(self, entry: _Entry, only: Loaded | None = None) -> None:
        """Unload what is loaded, or this one alone, while nobody loads it again: memory may not hold two."""
        with entry.changing:
            model = entry.model
            if model is None or only not in (None, model):
                return
            entry.model = None
            if entry.idle is not None:
                entry.idle.cancel()
                entry.idle = None
            model.close()
        log.info("model %r: unloaded", entry.info.name)

    def _make(self, name: str, spec: Mapping[str, Any], options: RunOptions) -> Loaded:
        reading = Spec(spec)
        loader = reading.choose("loader", (*LOADERS, LOADER), "")
        if loader == LOADER:
            return Given(name, spec, options, reading)
        with self._loading:
            begun = time.monotonic()
            log.info("model %r: loading with %s", name, loader)
            # This import brings torch, which takes seconds and much memory: nothing else here does.
            from embeddb.models.model import Model

            network = LOADERS[loader](reading, self._settings)
            model = Model(name, spec, options, network, self._settings, self._choices)
            facts = (name, time.monotonic() - begun, model.running.bytes / 1e6, model.running.device)
            log.info("model %r: loaded in %.1f s, %.0f MB on %s", *facts)
            return model

    def _load_again(self, entry: _Entry) -> Loaded:
        info = entry.info
        try:
            model = self._make(info.name, info.spec, info.options)
            loaded = model.info.fingerprint
            if loaded != info.fingerprint:
                model.close()
                raise FailedPreconditionError(
                    f"its weights are {loaded[:12]} now, and were {info.fingerprint[:12]} when it was "
                    f"registered; register them under a new name"
                )
        except Exception as error:
            # An upgraded library may raise anything, and one model must not keep a folder from being opened.
            if not isinstance(error, EmbeddbError):
                log.exception("model %r: loading failed", info.name)
            entry.refusal = str(error) or type(error).__name__
            raise FailedPreconditionError(f"model {info.name!r} is not available: {entry.refusal}") from error
        return model
