"""Search over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import HitColumns, ItemColumns
from embeddb_protos.v1 import search_pb2, search_pb2_grpc
from embeddb_protos.wire.errors import error_message
from embeddb_protos.wire.search import expressions_from, response_message, search_from
from embeddb_server.services.batches import answer_each
from embeddb_server.services.served import Served, Service

if TYPE_CHECKING:
    from embeddb.collection import Collection

# What a quick search may ask for, which is by one vector.
QUICK_FIELDS = frozenset({"collection", "vectors", "columns", "k", "model", "include_operands", "effort"})
QUICK_BYTES = 64 << 10
# One more is asked of the index, and more where scores are equal: still few enough for it to answer at once.
QUICK_K = 50

NO_HITS = HitColumns((), ItemColumns((), (), ()), ())


class SearchService(Service, search_pb2_grpc.SearchServiceServicer):
    """Finds items.

    Attributes:
        quick: tells, by method, which requests are answered as soon as another thread would have them.
    """

    def __init__(self, served: Served) -> None:
        super().__init__(served)
        parse, parse_streamed = search_pb2.SearchRequest.FromString, search_pb2.StreamSearchRequest.FromString
        self.quick = {
            "/embeddb.v1.SearchService/Search": lambda data: self._is_quick(data, parse),
            "/embeddb.v1.SearchService/StreamSearch": lambda data: self._is_quick(
                data, lambda data: parse_streamed(data).request
            ),
        }

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

    def _is_quick(self, data: bytes, parse: Callable[[bytes], search_pb2.SearchRequest]) -> bool:
        if len(data) > QUICK_BYTES:
            return False
        try:
            request = parse(data)
            return _is_plain(request) and self._collection(request).is_prompt(request.model or None)
        except (DecodeError, EmbeddbError):
            # Whoever answers says so.
            return False

    def _collection(self, request: search_pb2.SearchRequest) -> Collection:
        return self._database.collection(request.collection or "default")

    def _search(self, request: search_pb2.SearchRequest) -> search_pb2.SearchResponse:
        collection = self._collection(request)
        expressions = expressions_from(request)
        if not expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        well_formed = tuple(each for each in expressions if not isinstance(each, EmbeddbError))
        found = NO_HITS
        if well_formed:
            found = collection.search_columns(search_from(request, well_formed))
        outcomes = answer_each(expressions, lambda _: found.outcomes)
        return response_message(replace(found, outcomes=outcomes), columns=request.columns)


def _is_plain(request: search_pb2.SearchRequest) -> bool:
    """Whether a search is by one vector, and asks for nothing but a few hits."""
    return (
        len(request.vectors.data) == 4 * request.vectors.dimension
        and request.k <= QUICK_K
        and request.effort != search_pb2.EFFORT_EXACT
        and all(field.name in QUICK_FIELDS for field, _ in request.ListFields())
    )
