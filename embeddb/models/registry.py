"""The registered models: each is loaded once, and embeds for every collection."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from PIL import Image as PilImage

from embeddb.batching import Priority, QueueFigures
from embeddb.deadline import Deadline, current
from embeddb.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    EmbeddbError,
    FailedPreconditionError,
    InternalError,
    NotFoundError,
    or_raise,
)
from embeddb.models.images import decode
from embeddb.models.loaders import LOADERS
from embeddb.models.model import Model
<<<<<<< HEAD
=======
from embeddb.models.runner import Choices
from embeddb.models.settings import ModelSettings
>>>>>>> 017eaf9 (How a model runs: kept between starts, compiled where asked and faster, and probed with pictures like photographs)
from embeddb.models.spec import Spec
from embeddb.query import Embedding, Image, Modality, ModelInfo, RunOptions, Text, cut_out
from embeddb.settings import ModelSettings

__all__ = ["EmbedRequest", "Registry"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedRequest:
    """One content and the models that are to embed it; an image is decoded once for all of them."""

    content: Image | Text
    models: Sequence[str]


@dataclass
class _Entry:
    """A registered model: what it is, itself while it is loaded, and why it cannot be, where it cannot."""

    info: ModelInfo
    model: Model | None = None
    refusal: str | None = None
    changing: threading.Lock = field(default_factory=threading.Lock)


class Registry:
    """The models by name. Thread-safe; close it to end its threads.

    Models are loaded one at a time, since the libraries that make them change global state while they do;
    those that are loaded go on meanwhile.

    Args:
        settings: the operator's.
        choices: where it is kept how models run, so that a restart need not measure it; only until the registry
            is closed, if None.
    """

    def __init__(self, settings: ModelSettings, choices: Choices | None = None) -> None:
        self._settings = settings
        self._choices = {} if choices is None else choices
        self._entries: dict[str, _Entry] = {}
        self._names_taken: set[str] = set()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        # Decoding goes on while the networks run, on as many threads as there are cores. Bulk loads, which
        # may have to wait for room, have threads of their own, so that they are not in a query's way.
        self._decoders = {
            priority: ThreadPoolExecutor(os.cpu_count(), f"decode-{priority.name.lower()}")
            for priority in Priority
        }

    # -- Models -----------------------------------------------------------------------------------------

    def register(self, name: str, spec: Mapping[str, Any], options: RunOptions) -> ModelInfo:
        """Load a model under a new name.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the spec is malformed, or there is nothing to compile; the message names the field.
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
        self._entries[name] = _Entry(model.info, model)
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

    def get(self, name: str) -> Model:
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

    def load(self, name: str) -> Model:
        """Load a model that is not loaded, even where that failed before.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it cannot be loaded, or its weights are not those that were registered.
        """
        entry = self._entry(name)
        with entry.changing:
            if entry.model is None:
                entry.model = self._load_again(entry)
                entry.refusal = None
            return entry.model

    def unload(self, name: str) -> None:
        """Finish what is queued and free a model's memory; its next use loads it again.

        Raises:
            NotFoundError: there is none of that name.
        """
        entry = self._entry(name)
        with entry.changing:
            model, entry.model = entry.model, None
        if model is not None:
            model.close()

    def info(self, name: str) -> ModelInfo:
        """What a model is, and how it runs if it is loaded.

        Raises:
            NotFoundError: there is none of that name.
        """
        entry = self._entry(name)
        model = entry.model
        return replace(entry.info, running=None if model is None else model.running)

    def infos(self) -> list[ModelInfo]:
        """What all models are, in the order of names."""
        return [self.info(name) for name in sorted(self._entries)]

    def remove(self, name: str) -> None:
        """Unload a model and forget it.

        Raises:
            NotFoundError: there is none of that name.
        """
        self.unload(name)
        with self._lock:
            del self._entries[name]
            self._names_taken.discard(name)

    def close(self) -> None:
        """Unload all models."""
        for decoders in self._decoders.values():
            decoders.shutdown()
        for name in list(self._entries):
            self.unload(name)

    def queues(self) -> dict[str, QueueFigures]:
        """What the loaded models' queues have done since they were loaded, by the queues' names."""
        models = [entry.model for entry in list(self._entries.values()) if entry.model is not None]
        return {name: figures for model in models for name, figures in model.queues().items()}

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
        if len(requests) > self._settings.max_batch:
            priority = Priority.BULK
        deadline = current()
        # Here and not where images are decoded, where a model that has to be loaded would hold up others.
        models = {name: self._get_or_error(name) for request in requests for name in request.models}
        submit = partial(self._submit, models, priority, deadline)
        submitted = list(self._decoders[priority].map(submit, requests))
        outcomes = [_outcome(each, deadline) for each in submitted]
        deadline.check()
        return outcomes

    def _submit(
        self,
        models: Mapping[str, Model | EmbeddbError],
        priority: Priority,
        deadline: Deadline,
        request: EmbedRequest,
    ) -> dict[str, Future[Embedding]] | EmbeddbError:
        """Decode a content and queue it at its models."""
        try:
            deadline.check()
            wanted = {name: or_raise(models[name]) for name in request.models}
            content: Any
            if isinstance(request.content, Image):
                content, modality = self._decode(request.content), Modality.IMAGE
            else:
                content, modality = request.content.text, Modality.TEXT
            return {
                name: model.submit(content, modality, priority, deadline) for name, model in wanted.items()
            }
        except EmbeddbError as error:
            return error
        except Exception as error:
            log.exception("preparing %r for %s failed", request.content, ", ".join(request.models))
            return InternalError(f"preparing the content failed: {error}")

    def cut(self, image: Image) -> Image:
        """What is inside an image's box, as a PNG of its own; the image itself if it has none.

        Raises:
            InvalidArgumentError: it cannot be decoded or is over a limit, or its box is not inside it.
        """
        return image if image.box is None else Image(self._decode(image))

    # -- Inside -----------------------------------------------------------------------------------------

    def _decode(self, image: Image) -> PilImage.Image:
        """The picture within the operator's limits, or the part of it that is inside its box."""
        limits = (self._settings.max_image_bytes, self._settings.max_image_pixels)
        picture = decode(image.read(), *limits)
        return picture if image.box is None else cut_out(picture, image.box)

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFoundError("model", name, list(self._entries))
        return entry

    def _get_or_error(self, name: str) -> Model | EmbeddbError:
        try:
            return self.get(name)
        except EmbeddbError as error:
            return error

    def _make(self, name: str, spec: Mapping[str, Any], options: RunOptions) -> Model:
        reading = Spec(spec)
        loader = reading.choose("loader", tuple(LOADERS), "")
        with self._loading:
            begun = time.monotonic()
            log.info("model %r: loading with %s", name, loader)
            network = LOADERS[loader](reading, self._settings)
            model = Model(name, spec, options, network, self._settings, self._choices)
            running, seconds = model.running, time.monotonic() - begun
            log.info("model %r: loaded in %.1f s, %.0f MB on %s", name, seconds, running.bytes / 1e6, running.device)
            return model

    def _load_again(self, entry: _Entry) -> Model:
        info = entry.info
        log.info("loading model %r", info.name)
        try:
            model = self._make(info.name, info.spec, info.options)
            loaded = model.info.fingerprint
            if loaded != info.fingerprint:
                model.close()
                raise FailedPreconditionError(
                    f"its weights are {loaded[:12]} now, and were {info.fingerprint[:12]} when it was "
                    f"registered; register them under a new name"
                )
        except EmbeddbError as error:
            entry.refusal = str(error)
            raise FailedPreconditionError(f"model {info.name!r} is not available: {error}") from error
        return model


def _outcome(
    submitted: dict[str, Future[Embedding]] | EmbeddbError, deadline: Deadline
) -> dict[str, Embedding] | EmbeddbError:
    """Wait for the embeddings of one content, by model name."""
    if isinstance(submitted, EmbeddbError):
        return submitted
    try:
        return {name: future.result(deadline.seconds) for name, future in submitted.items()}
    except EmbeddbError as error:
        return error
    except TimeoutError:
        for future in submitted.values():
            future.cancel()
        return DeadlineExceededError("the deadline passed before the answer was ready")
