"""The registered models: each is loaded once, and embeds for every collection."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from embeddb.batching import Priority
from embeddb.deadline import Deadline, current
from embeddb.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    EmbeddbError,
    FailedPreconditionError,
    InternalError,
    NotFoundError,
)
from embeddb.models.images import decode
from embeddb.models.loaders import LOADERS
from embeddb.models.model import Model
from embeddb.models.settings import ModelSettings
from embeddb.models.spec import Spec
from embeddb.query import Embedding, Image, Modality, Text

__all__ = ["EmbedRequest", "Registry"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedRequest:
    """One content and the models that are to embed it; an image is decoded once for all of them."""

    content: Image | Text
    models: Sequence[str]


class Registry:
    """The models by name. Thread-safe; close it to end its threads."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._models: dict[str, Model] = {}
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()
        # Decoding goes on while the networks run, on as many threads as there are cores. Bulk loads, which
        # may have to wait for room, have threads of their own, so that they are not in a query's way.
        self._decoders = {
            priority: ThreadPoolExecutor(os.cpu_count(), f"decode-{priority.name.lower()}")
            for priority in Priority
        }

    def load(self, name: str, spec: Mapping[str, Any]) -> Model:
        """Load a model under a new name.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the spec is malformed; the message names its field.
            FailedPreconditionError: weights or packages are missing.
            PermissionDeniedError: the operator has not allowed it.
        """
        reading = Spec(spec)
        loader = reading.choose("loader", tuple(LOADERS), "")
        if name in self._models:
            raise AlreadyExistsError("model", name)
        model = Model(name, spec, LOADERS[loader](reading, self._settings), self._settings)
        with self._lock:
            taken = name in self._models
            if not taken:
                self._models[name] = model
        if taken:
            model.close()
            raise AlreadyExistsError("model", name)
        return model

    def get(self, name: str) -> Model:
        """The model of that name.

        Raises:
            NotFoundError: there is none.
            FailedPreconditionError: it could not be loaded.
        """
        model = self._models.get(name)
        if model is not None:
            return model
        if name in self._refused:
            raise FailedPreconditionError(f"model {name!r} is not available: {self._refused[name]}")
        raise NotFoundError("model", name, self.names())

    def names(self) -> list[str]:
        """The names of all loaded models, sorted."""
        return sorted(self._models)

    def remove(self, name: str) -> None:
        """Unload a model.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._lock:
            if self._refused.pop(name, None) is not None:
                return
            model = self.get(name)
            del self._models[name]
        model.close()

    def refuse(self, name: str, reason: str) -> None:
        """Answer every use of a model that could not be loaded with the reason, until it is removed."""
        self._refused[name] = reason

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
        submitted = list(self._decoders[priority].map(partial(self._submit, priority, deadline), requests))
        outcomes = [_outcome(each, deadline) for each in submitted]
        deadline.check()
        return outcomes

    def close(self) -> None:
        """Unload all models."""
        for decoders in self._decoders.values():
            decoders.shutdown()
        for name in self.names():
            self.remove(name)

    def _submit(
        self, priority: Priority, deadline: Deadline, request: EmbedRequest
    ) -> dict[str, Future[Embedding]] | EmbeddbError:
        """Decode a content and queue it at its models."""
        try:
            deadline.check()
            content: Any
            if isinstance(request.content, Image):
                limits = (self._settings.max_image_bytes, self._settings.max_image_pixels)
                content, modality = decode(request.content.read(), *limits), Modality.IMAGE
            else:
                content, modality = request.content.text, Modality.TEXT
            return {
                name: self.get(name).submit(content, modality, priority, deadline) for name in request.models
            }
        except EmbeddbError as error:
            return error
        except Exception as error:
            log.exception("preparing %r for %s failed", request.content, ", ".join(request.models))
            return InternalError(f"preparing the content failed: {error}")


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
