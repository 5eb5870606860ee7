"""Search over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb_protos.v1 import search_pb2, search_pb2_grpc
from embeddb_protos.wire.errors import error_message
from embeddb_protos.wire.expressions import expression_from
from embeddb_protos.wire.search import result_message, search_from
from embeddb_server.services.batches import answer_each, parse_each
from embeddb_server.services.served import Service


class SearchService(Service, search_pb2_grpc.SearchServiceServicer):
    """Finds items."""

    def Search(  # noqa: D102, N802 - documented in the .proto
        self, request: search_pb2.SearchRequest, context: grpc.ServicerContext
    ) -> search_pb2.SearchResponse:
        return self._search(request)

    def StreamSearch(  # noqa: D102, N802 - documented in the .proto
        self, requests: Iterator[search_pb2.StreamSearchRequest], context: grpc.ServicerContext
    ) -> Iterator[search_pb2.StreamSearchResponse]:
        for request in requests:
            try:
                yield search_pb2.StreamSearchResponse(response=self._search(request.request))
            except EmbeddbError as error:
                yield search_pb2.StreamSearchResponse(error=error_message(error))

    def _search(self, request: search_pb2.SearchRequest) -> search_pb2.SearchResponse:
        collection = self._database.collection(request.collection or "default")
        if not request.expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        outcomes = answer_each(
            parse_each(expression_from, request.expressions),
            lambda expressions: collection.search_many(search_from(request, expressions)),
        )
        return search_pb2.SearchResponse(results=[result_message(outcome) for outcome in outcomes])
