"""Search over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import grpc

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import HitColumns, ItemColumns
from embeddb_protos.v1 import search_pb2, search_pb2_grpc
from embeddb_protos.wire.errors import error_message
from embeddb_protos.wire.search import expressions_from, response_message, search_from
from embeddb_server.services.batches import answer_each
from embeddb_server.services.served import Service

NO_HITS = HitColumns((), ItemColumns((), (), ()), ())


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
        expressions = expressions_from(request)
        if not expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        well_formed = tuple(each for each in expressions if not isinstance(each, EmbeddbError))
        found = NO_HITS
        if well_formed:
            found = collection.search_columns(search_from(request, well_formed))
        outcomes = answer_each(expressions, lambda _: found.outcomes)
        return response_message(replace(found, outcomes=outcomes), columns=request.columns)
