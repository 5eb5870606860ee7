"""EuclidesDB's API over one collection, for the clients that still speak it; see docs/euclidesdb.md."""

from __future__ import annotations

import base64
import logging
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import grpc

from embeddb.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from embeddb.query import Expression, Hit, Image, Item, Metric, Modality
from embeddb_protos.euclides import similar_pb2, similar_pb2_grpc
from embeddb_server.services.served import Served, Service

if TYPE_CHECKING:
    from embeddb.collection import Collection

__all__ = ["SERVICE", "SimilarService"]

SERVICE = similar_pb2.DESCRIPTOR.services_by_name["Similar"].full_name
REFRESH = 1
INT32 = range(-(1 << 31), 1 << 31)

log = logging.getLogger(__name__)


class SimilarService(Service, similar_pb2_grpc.SimilarServicer):
    """Puts, deletes and finds pictures whose ids are 32-bit numbers.

    Args:
        served: the database, once it is open.
        collection: the name of the collection whose models are EuclidesDB's model spaces.
        shutdown: ends the server; None if callers may not.
    """

    def __init__(self, served: Served, collection: str, shutdown: Callable[[], None] | None = None) -> None:
        super().__init__(served)
        self._name = collection
        self._shutdown = shutdown

    def AddImage(  # noqa: D102, N802 - documented in the .proto
        self, request: similar_pb2.AddImageRequest, context: grpc.ServicerContext
    ) -> similar_pb2.AddImageReply:
        collection = self._with_models(request.models)
        for model in request.models:
            if Modality.IMAGE not in self._database.model(model).modalities:
                raise InvalidArgumentError("models", model, "must be models that embed images")
        encoded = base64.b64encode(request.image_metadata).decode()
        metadata = {"image_metadata": encoded} if encoded else {}
        collection.put(str(request.image_id), Image(request.image_data), metadata)
        features = collection.get(str(request.image_id), with_features=True).features
        reply = similar_pb2.AddImageReply()
        for model in request.models:
            if model not in features:
                # It was dropped meanwhile.
                raise NotFoundError("model", model, list(features))
            reply.vectors.add(model=model, features=features[model].tolist())
        return reply

    def RemoveImage(  # noqa: D102, N802 - documented in the .proto
        self, request: similar_pb2.RemoveImageRequest, context: grpc.ServicerContext
    ) -> similar_pb2.RemoveImageReply:
        # EuclidesDB, too, takes the deletion of what is not there for done.
        self._database.collection(self._name).delete_many([str(request.image_id)])
        return similar_pb2.RemoveImageReply(image_id=request.image_id)

    def FindSimilarImage(  # noqa: D102, N802 - documented in the .proto
        self, request: similar_pb2.FindSimilarImageRequest, context: grpc.ServicerContext
    ) -> similar_pb2.FindSimilarImageReply:
        return self._find(Image(request.image_data), request.top_k, request.models)

    def FindSimilarImageById(  # noqa: D102, N802 - documented in the .proto
        self, request: similar_pb2.FindSimilarImageByIdRequest, context: grpc.ServicerContext
    ) -> similar_pb2.FindSimilarImageReply:
        return self._find(Item(str(request.image_id)), request.top_k, request.models)

    def Shutdown(  # noqa: D102, N802 - documented in the .proto
        self, request: similar_pb2.ShutdownRequest, context: grpc.ServicerContext
    ) -> similar_pb2.ShutdownReply:
        if request.shutdown_type == REFRESH:
            return similar_pb2.ShutdownReply(shutdown=False)
        if self._shutdown is None:
            raise PermissionDeniedError(
                "the operator has not set euclides_shutdown: callers cannot end the server"
            )
        log.warning("a caller of EuclidesDB's API ends the server")
        self._shutdown()
        return similar_pb2.ShutdownReply(shutdown=True)

    def _find(
        self, expression: Expression, top_k: int, models: Iterable[str]
    ) -> similar_pb2.FindSimilarImageReply:
        collection = self._with_models(models)
        metric = collection.info().settings.metric
        reply = similar_pb2.FindSimilarImageReply()
        for model in models:
            hits = collection.search(expression, top_k, model=model, include_operands=True)
            named = [hit for hit in hits if _is_int32(hit)]
            reply.results.add(
                model=model,
                top_k_ids=[int(hit.id) for hit in named],
                distances=[_distance(metric, hit.score) for hit in named],
            )
        return reply

    def _with_models(self, models: Iterable[str]) -> Collection:
        """The collection, if it has all of these models, and they are any.

        Raises:
            InvalidArgumentError: no model is named.
            NotFoundError: there is no such collection, or one of the models is not among its own.
        """
        collection = self._database.collection(self._name)
        if not models:
            raise InvalidArgumentError("models", "none", "at least one is needed")
        known = list(collection.info().models)
        for model in models:
            if model not in known:
                raise NotFoundError("model", model, known)
        return collection


def _is_int32(hit: Hit) -> bool:
    """Whether a hit can be named on this wire: its id is the one that a 32-bit number is written as."""
    try:
        number = int(hit.id)
    except ValueError:
        return False
    return number in INT32 and str(number) == hit.id


def _distance(metric: Metric, score: float) -> float:
    """A score as a distance: of unit vectors for the cosine, which is what EuclidesDB's engines give."""
    if metric is Metric.COSINE:
        return math.sqrt(max(0.0, 2.0 - 2.0 * score))
    return -score
