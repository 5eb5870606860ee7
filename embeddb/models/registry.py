"""The registered models: each is loaded once, and embeds for every collection."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from embeddb.batching import Batcher, Priority
from embeddb.errors import (
    AlreadyExistsError,
    EmbeddbError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from embeddb.models.images import decode
from embeddb.models.loaders import LOADERS
from embeddb.models.network import Network
from embeddb.models.settings import ModelSettings
from embeddb.models.spec import Spec
from embeddb.query import Embedding, Image, Modality, ModelInfo, Prediction, Text

__all__ = ["EmbedRequest", "Model", "Registry"]


@dataclass(frozen=True)
class EmbedRequest:
    """One content and the models that are to embed it; an image is decoded once for all of them."""

    content: Image | Text
    models: Sequence[str]


class Model:
    """One loaded model: its network, and a queue with a worker for each modality."""

    def __init__(self, name: str, spec: Mapping[str, Any], network: Network, settings: ModelSettings) -> None:
        self.labels = network.labels
        self.info = ModelInfo(
            name, spec, network.modalities, network.dimension, len(network.labels), network.fingerprint
        )
        self._network = network
        self._keep = settings.predictions
        # One forward pass at a time: two would only take the cores from one another.
        self._running = threading.Lock()
        self._batchers = {
            modality: Batcher(
                f"{name}-{modality}",
                partial(self._forward, modality),
                settings.max_batch,
                settings.max_queue,
            )
            for modality in network.modalities
        }

    def submit(self, content: Any, modality: Modality, priority: Priority) -> Future[Embedding]:
        """Queue one decoded image or text.

        Raises:
            InvalidArgumentError: the model does not encode that modality.
            ResourceExhaustedError: the queue is full.
        """
        batcher = self._batchers.get(modality)
        if batcher is None:
            able = " and ".join(f"{each}s" for each in self._batchers) or "nothing"
            raise InvalidArgumentError("model", self.info.name, f"encodes {able}, and so no {modality}")
        return batcher.submit(self._network.prepare(content), priority)

    def close(self) -> None:
        """Finish what is queued and end the workers."""
        for batcher in self._batchers.values():
            batcher.close()

    def _forward(self, modality: Modality, prepared: Sequence[Any]) -> list[Embedding]:
        with self._running:
            output = self._network.forward(modality, prepared)
        # Copied out of inference mode's tensors, so that an embedding owns its memory.
        features = output.features.float().cpu().numpy().copy()
        if output.probabilities is None:
            return [Embedding(row) for row in features]
        scores, classes = output.probabilities.topk(min(self._keep, len(self.labels)), dim=1)
        return [
            Embedding(row, tuple(Prediction(self.labels[c], s) for c, s in zip(cs, ss, strict=True)))
            for row, cs, ss in zip(features, classes.tolist(), scores.tolist(), strict=True)
        ]


class Registry:
    """The models by name. Thread-safe; close it to end its threads."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._models: dict[str, Model] = {}
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()
        # Decoding goes on while the networks run, on as many threads as there are cores.
        self._decoders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")

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
        """Embed contents, each by its models.

        Returns:
            One an element, in order: the embeddings by model name, or why there are none. One that fails
            does not disturb its neighbours; where one model fails on a content, the content fails.
        """
        submitted = list(self._decoders.map(partial(self._submit, priority), requests))
        outcomes: list[dict[str, Embedding] | EmbeddbError] = []
        for futures in submitted:
            if isinstance(futures, EmbeddbError):
                outcomes.append(futures)
                continue
            try:
                outcomes.append({name: future.result() for name, future in futures.items()})
            except EmbeddbError as error:
                outcomes.append(error)
        return outcomes

    def close(self) -> None:
        """Unload all models."""
        self._decoders.shutdown()
        for name in self.names():
            self.remove(name)

    def _submit(
        self, priority: Priority, request: EmbedRequest
    ) -> dict[str, Future[Embedding]] | EmbeddbError:
        """Decode a content and queue it at its models."""
        try:
            content: Any
            if isinstance(request.content, Image):
                limits = (self._settings.max_image_bytes, self._settings.max_image_pixels)
                content, modality = decode(request.content.read(), *limits), Modality.IMAGE
            else:
                content, modality = request.content.text, Modality.TEXT
            return {name: self.get(name).submit(content, modality, priority) for name in request.models}
        except EmbeddbError as error:
            return error
