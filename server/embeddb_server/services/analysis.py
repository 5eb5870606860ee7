"""Questions to a collection over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from embeddb.questions import (
    Calibrate,
    Classify,
    Clusters,
    Compare,
    Duplicates,
    Evaluate,
    Map,
    Question,
)
from embeddb_protos.v1 import analysis_pb2, analysis_pb2_grpc
from embeddb_protos.wire.questions import CODECS
from embeddb_server.services.following import follow
from embeddb_server.services.served import Service


class AnalysisService(Service, analysis_pb2_grpc.AnalysisServiceServicer):
    """Compares, classifies, evaluates, groups, maps, and finds thresholds."""

    def Compare(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.CompareRequest, context: grpc.ServicerContext
    ) -> analysis_pb2.CompareResponse:
        response: analysis_pb2.CompareResponse = self._answer(Compare, request)
        return response

    def Classify(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.ClassifyRequest, context: grpc.ServicerContext
    ) -> analysis_pb2.ClassifyResponse:
        response: analysis_pb2.ClassifyResponse = self._answer(Classify, request)
        return response

    def Calibrate(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.CalibrateRequest, context: grpc.ServicerContext
    ) -> analysis_pb2.CalibrateResponse:
        response: analysis_pb2.CalibrateResponse = self._answer(Calibrate, request)
        return response

    def Evaluate(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.EvaluateRequest, context: grpc.ServicerContext
    ) -> analysis_pb2.EvaluateResponse:
        response: analysis_pb2.EvaluateResponse = self._answer(Evaluate, request)
        return response

    def FindDuplicates(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.FindDuplicatesRequest, context: grpc.ServicerContext
    ) -> analysis_pb2.FindDuplicatesResponse:
        response: analysis_pb2.FindDuplicatesResponse = self._answer(Duplicates, request)
        return response

    def StreamFindDuplicates(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.StreamFindDuplicatesRequest, context: grpc.ServicerContext
    ) -> Iterator[analysis_pb2.StreamFindDuplicatesResponse]:
        return self._follow(Duplicates, request, analysis_pb2.StreamFindDuplicatesResponse)

    def StreamEvaluate(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.StreamEvaluateRequest, context: grpc.ServicerContext
    ) -> Iterator[analysis_pb2.StreamEvaluateResponse]:
        return self._follow(Evaluate, request, analysis_pb2.StreamEvaluateResponse)

    def StreamFindClusters(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.StreamFindClustersRequest, context: grpc.ServicerContext
    ) -> Iterator[analysis_pb2.StreamFindClustersResponse]:
        return self._follow(Clusters, request, analysis_pb2.StreamFindClustersResponse)

    def StreamMapItems(  # noqa: D102, N802 - documented in the .proto
        self, request: analysis_pb2.StreamMapItemsRequest, context: grpc.ServicerContext
    ) -> Iterator[analysis_pb2.StreamMapItemsResponse]:
        return self._follow(Map, request, analysis_pb2.StreamMapItemsResponse)

    def _answer(self, kind: type[Question[Any]], request: Any) -> Any:
        codec = CODECS[kind]
        collection = self._collection(request.collection)
        return codec.response_message(collection.ask(codec.question_from(request)))

    def _follow(self, kind: type[Question[Any]], request: Any, response: type[Any]) -> Iterator[Any]:
        codec = CODECS[kind]
        question = codec.question_from(request.request)
        collection = self._collection(request.request.collection)
        return follow(
            lambda told: collection.ask(question, on_progress=told), response, codec.response_message
        )
