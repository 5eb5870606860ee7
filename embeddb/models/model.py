"""One loaded model: its network, and a queue with a worker for each modality."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import torch

from embeddb.batching import Batcher, Priority, QueueFigures
from embeddb.deadline import Deadline
from embeddb.errors import EmbeddbError, InternalError, InvalidArgumentError
from embeddb.models.network import ImageTextNetwork, Network, Output
from embeddb.models.recent import RecentTexts, TextCacheFigures
from embeddb.models.runner import Choices, Runner
from embeddb.models.usage import Usage
from embeddb.query import Embedding, Modality, ModelInfo, Prediction, RunOptions
from embeddb.settings import ModelSettings

__all__ = ["Model"]

log = logging.getLogger(__name__)


class Model:
    """One loaded model. Thread-safe; close it to end its threads.

    Attributes:
        info: what it is.
        running: where and how it runs.
        usage: who uses it now; whoever does has to enter there first.
        labels: the names of its classes.
        logits: the scale and bias of an image-text model (see `ImageTextNetwork`); None of any other.

    Args:
        network: as it was loaded; the model's own from now on.
        choices: see `Runner`.

    Raises:
        FailedPreconditionError, InvalidArgumentError: see `Runner`.
    """

    def __init__(
        self,
        name: str,
        spec: Mapping[str, Any],
        options: RunOptions,
        network: Network,
        settings: ModelSettings,
        choices: Choices,
    ) -> None:
        self.labels = network.labels
        self.logits: tuple[float, float | None] | None = None
        if isinstance(network, ImageTextNetwork):
            self.logits = (network.logit_scale, network.logit_bias)
        self.info = ModelInfo(
            name=name,
            spec=spec,
            modalities=network.modalities,
            dimension=network.dimension,
            labels=len(network.labels),
            fingerprint=network.fingerprint,
            options=options,
        )
        self._runner = Runner(name, network, options, settings.max_batch, choices)
        self.running = self._runner.running
        self.usage = Usage()
        self._keep = settings.predictions
        self._recent = RecentTexts(settings.text_cache)
        # One forward pass at a time: two would only take the cores from one another.
        self._running = threading.Lock()
        self._batchers: dict[Modality, Batcher[Any, Embedding]] = {
            modality: Batcher(
                f"{name}-{modality}",
                partial(self._forward, modality),
                settings.max_batch,
                settings.max_queue,
                title=self._title(modality),
            )
            for modality in network.modalities
        }

    def submit(
        self,
        content: Any,
        modality: Modality,
        priority: Priority,
        deadline: Deadline,
        *,
        recall: bool = False,
    ) -> Future[Embedding]:
        """Queue one decoded image or text; see `Batcher.submit`.

        Args:
            recall: whether a text is answered with what it gave lately (see `remember`), where it is known.

        Raises:
            InvalidArgumentError: the model does not encode that modality.
            ResourceExhaustedError: the queue of queries is full.
        """
        batcher = self._batchers.get(modality)
        if batcher is None:
            able = " and ".join(f"{each}s" for each in self._batchers) or "nothing"
            raise InvalidArgumentError("model", self.info.name, f"encodes {able}, and so no {modality}")
        known = self._recent.get(content) if recall and modality is Modality.TEXT else None
        if known is None:
            return batcher.submit(self._prepared(content, modality), priority, deadline)
        answered: Future[Embedding] = Future()
        answered.set_result(known)
        return answered

    def remember(self, text: str, embedding: Embedding) -> None:
        """Keep what it made of a text, for those who ask for it again."""
        self._recent.put(text, embedding)

    def queues(self) -> dict[str, QueueFigures]:
        """What each of its queues has done, by the queue's name."""
        name = self.info.name
        return {f"{name}-{modality}": batcher.figures() for modality, batcher in self._batchers.items()}

    def text_cache(self) -> TextCacheFigures:
        """What its cache of texts has done."""
        return self._recent.figures()

    def close(self) -> None:
        """Let its users finish, end the workers and free the memory of the network."""
        self.usage.close()
        for batcher in self._batchers.values():
            batcher.close()
        self._runner.close()
        # Neither who still has this object, such as a timer, keeps the weights, nor cycles in a network.
        del self._runner
        gc.collect()
        torch.cuda.empty_cache()

    def _prepared(self, content: Any, modality: Modality) -> Any:
        try:
            return self._runner.prepare(content)
        except EmbeddbError:
            raise
        except Exception as error:
            title, said = self._title(modality), f"{type(error).__name__}: {error}"
            log.exception("%s failed to prepare one", title)
            raise InternalError(f"{title} failed to prepare one: {said}") from error

    def _title(self, modality: Modality) -> str:
        """What errors and the log call the model where it encodes a modality."""
        return f"model {self.info.name!r} for {modality}s"

    def _forward(self, modality: Modality, prepared: Sequence[Any]) -> list[Embedding | EmbeddbError]:
        with self._running:
            output = self._runner.forward(modality, prepared)
        # Copied out of inference mode's tensors, so that an embedding owns its memory.
        features = output.features.numpy().copy()
        finite = np.isfinite(features).all(axis=1)
        if output.probabilities is not None:
            finite &= np.isfinite(output.probabilities.float().numpy()).all(axis=1)
        return [
            Embedding(row, predictions) if fine else self._not_finite()
            for row, fine, predictions in zip(features, finite, self._predictions(output), strict=True)
        ]

    def _predictions(self, output: Output) -> list[tuple[Prediction, ...]]:
        """The likeliest classes of each input, most likely first."""
        if output.probabilities is None:
            return [()] * len(output.features)
        scores, classes = output.probabilities.topk(min(self._keep, len(self.labels)), dim=1)
        return [
            tuple(Prediction(self.labels[c], s) for c, s in zip(cs, ss, strict=True))
            for cs, ss in zip(classes.tolist(), scores.tolist(), strict=True)
        ]

    def _not_finite(self) -> InternalError:
        return InternalError(
            f"model {self.info.name!r} gave features or predictions that are not finite numbers"
        )
