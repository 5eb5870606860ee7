"""Questions to a collection over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
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
    Progress,
    Question,
)
from embeddb_protos.v1 import analysis_pb2, analysis_pb2_grpc
from embeddb_protos.wire.codec import progress_message
from embeddb_protos.wire.questions import CODECS
from embeddb_server.services.served import Service

PROGRESS_SECONDS = 0.2


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
        collection = self._database.collection(request.collection or "default")
        return codec.response_message(collection.ask(codec.question_from(request)))

    def _follow(self, kind: type[Question[Any]], request: Any, response: type[Any]) -> Iterator[Any]:
        """Answer on another thread, and say how far it is until it is done."""
        codec = CODECS[kind]
        question = codec.question_from(request.request)
        collection = self._database.collection(request.request.collection or "default")
        latest: list[Progress] = []

        def keep(progress: Progress) -> None:
            latest[:] = [progress]

        # The call's deadline goes along in the context: the work ends at its next step once nobody waits.
        with ThreadPoolExecutor(1, thread_name_prefix="answer") as pool:
            answer = pool.submit(copy_context().run, collection.ask, question, on_progress=keep)
            told: list[Progress] = []
            while not wait([answer], PROGRESS_SECONDS).done:
                if latest != told:
                    told = list(latest)
                    yield response(progress=progress_message(told[0]))
        yield response(response=codec.response_message(answer.result()))
