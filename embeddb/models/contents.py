"""Contents on their way to the models: images are decoded, and what the models make of them is awaited."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image as PilImage

from embeddb.batching import Priority
from embeddb.deadline import Deadline
from embeddb.errors import DeadlineExceededError, EmbeddbError, InternalError, or_raise
from embeddb.models.images import decode
from embeddb.query import Embedding, Image, Modality, Text, cut_out
from embeddb.settings import ModelSettings

if TYPE_CHECKING:
    from embeddb.models.model import Model

__all__ = ["Contents", "EmbedRequest"]

log = logging.getLogger(__name__)

Submitted = dict[str, Future[Embedding]] | EmbeddbError


@dataclass(frozen=True)
class EmbedRequest:
    """One content and the models that are to embed it; an image is decoded once for all of them."""

    content: Image | Text
    models: Sequence[str]


class Contents:
    """Brings contents to models, images on as many threads as there are cores. Thread-safe; close it.

    Args:
        settings: how large images may be, and how large a batch is.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        # Decoding goes on while the networks run. Bulk loads, which may have to wait for room, have threads
        # of their own, so that they are not in a query's way.
        self._decoders = {
            priority: ThreadPoolExecutor(os.cpu_count(), f"decode-{priority.name.lower()}")
            for priority in Priority
        }

    def embed(
        self,
        requests: Sequence[EmbedRequest],
        models: Mapping[str, Model | EmbeddbError],
        priority: Priority,
        deadline: Deadline,
    ) -> list[dict[str, Embedding] | EmbeddbError]:
        """Embed contents by models that stay loaded meanwhile; see `Registry.embed`."""
        # The labels of a classification may be more than a batch, and come again all the same.
        is_query = priority is Priority.QUERY
        if len(requests) > self._settings.max_batch:
            priority = Priority.BULK
        submit = partial(self._submit, models, priority, deadline, is_query)
        images = [request for request in requests if isinstance(request.content, Image)]
        decoded = self._decoders[priority].map(submit, images)
        # Texts are prepared here: that takes less than to hand them over.
        texts = [None if isinstance(each.content, Image) else submit(each) for each in requests]
        submitted = [next(decoded) if each is None else each for each in texts]
        outcomes = [_outcome(each, deadline) for each in submitted]
        if is_query:
            _remember(models, requests, outcomes)
        return outcomes

    def cut(self, images: Sequence[Image]) -> list[Image | EmbeddbError]:
        """What is inside each image's box, as a PNG of its own.

        Returns:
            An error in the place of each that cannot be decoded, is over a limit or does not hold its box.
        """
        return list(self._decoders[Priority.BULK].map(self._cut, images))

    def close(self) -> None:
        """End the threads once they have done what they have."""
        for decoders in self._decoders.values():
            decoders.shutdown()

    def _submit(
        self,
        models: Mapping[str, Model | EmbeddbError],
        priority: Priority,
        deadline: Deadline,
        recall: bool,
        request: EmbedRequest,
    ) -> Submitted:
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
                name: model.submit(content, modality, priority, deadline, recall=recall)
                for name, model in wanted.items()
            }
        except EmbeddbError as error:
            return error
        except Exception as error:
            log.exception("preparing %r for %s failed", request.content, ", ".join(request.models))
            return InternalError(f"preparing the content failed: {error}")

    def _cut(self, image: Image) -> Image | EmbeddbError:
        try:
            return Image(self._decode(image))
        except EmbeddbError as error:
            return error
        except Exception as error:
            log.exception("cutting %r failed", image)
            return InternalError(f"cutting the image failed: {error}")

    def _decode(self, image: Image) -> PilImage.Image:
        """The picture within the operator's limits, or the part of it that is inside its box."""
        limits = (self._settings.max_image_bytes, self._settings.max_image_pixels)
        picture = decode(image.read(), *limits)
        return picture if image.box is None else cut_out(picture, image.box)


def _outcome(submitted: Submitted, deadline: Deadline) -> dict[str, Embedding] | EmbeddbError:
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


def _remember(
    models: Mapping[str, Model | EmbeddbError],
    requests: Sequence[EmbedRequest],
    outcomes: Sequence[dict[str, Embedding] | EmbeddbError],
) -> None:
    """Have the models keep what they made of texts."""
    for request, outcome in zip(requests, outcomes, strict=True):
        if isinstance(request.content, Text) and not isinstance(outcome, EmbeddbError):
            for name, embedding in outcome.items():
                or_raise(models[name]).remember(request.content.text, embedding)
