"""Models over gRPC."""

from __future__ import annotations

import grpc

from embeddb.errors import EmbeddbError
from embeddb.query import Embedding
from embeddb_protos.v1 import models_pb2, models_pb2_grpc
from embeddb_protos.wire.errors import error_message, parse_each
from embeddb_protos.wire.items import content_from, embedding_message, json_object
from embeddb_protos.wire.service import model_message, options_from
from embeddb_server.services.batches import answer_each, page_by_name
from embeddb_server.services.served import Service


class ModelService(Service, models_pb2_grpc.ModelServiceServicer):
    """Registers, lists and removes models, and runs contents through them."""

    def RegisterModel(  # noqa: D102, N802 - documented in the .proto
        self, request: models_pb2.RegisterModelRequest, context: grpc.ServicerContext
    ) -> models_pb2.RegisterModelResponse:
        spec = json_object("spec", request.spec_json)
        info = self._database.register_model(request.name, spec, options_from(request.options))
        return models_pb2.RegisterModelResponse(model=model_message(info))

    def ListModels(  # noqa: D102, N802 - documented in the .proto
        self, request: models_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        page, token = page_by_name(
            self._database.models(), lambda info: info.name, request.page_size, request.page_token
        )
        return models_pb2.ListModelsResponse(
            models=[model_message(info) for info in page], next_page_token=token
        )

    def GetModel(  # noqa: D102, N802 - documented in the .proto
        self, request: models_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> models_pb2.GetModelResponse:
        return models_pb2.GetModelResponse(model=model_message(self._database.model(request.name)))

    def LoadModel(  # noqa: D102, N802 - documented in the .proto
        self, request: models_pb2.LoadModelRequest, context: grpc.ServicerContext
    ) -> models_pb2.LoadModelResponse:
        return models_pb2.LoadModelResponse(model=model_message(self._database.load_model(request.name)))

    def UnloadModel(  # noqa: D102, N802 - documented in the .proto
        self, request: models_pb2.UnloadModelRequest, context: grpc.ServicerContext
    ) -> models_pb2.UnloadModelResponse:
        return models_pb2.UnloadModelResponse(model=model_message(self._database.unload_model(request.name)))

    def RemoveModel(  # noqa: D102, N802 - documented in the .proto
        self, request: models_pb2.RemoveModelRequest, context: grpc.ServicerContext
    ) -> models_pb2.RemoveModelResponse:
        self._database.remove_model(request.name)
        return models_pb2.RemoveModelResponse()

    def Embed(  # noqa: D102, N802 - documented in the .proto
        self, request: models_pb2.EmbedRequest, context: grpc.ServicerContext
    ) -> models_pb2.EmbedResponse:
        outcomes = answer_each(
            parse_each(content_from, request.contents),
            lambda contents: self._database.embed_many(request.model, contents),
        )
        return models_pb2.EmbedResponse(results=[_embed_result(outcome) for outcome in outcomes])


def _embed_result(outcome: Embedding | EmbeddbError) -> models_pb2.EmbedResult:
    if isinstance(outcome, EmbeddbError):
        return models_pb2.EmbedResult(error=error_message(outcome))
    return models_pb2.EmbedResult(embedding=embedding_message(outcome))
