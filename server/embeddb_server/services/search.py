"""Search over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, TypeAlias

import grpc

from embeddb.deadline import current
from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import DEFAULT_K, HitColumns, ItemColumns
from embeddb_protos.v1 import search_pb2, search_pb2_grpc
from embeddb_protos.wire.errors import error_message
from embeddb_protos.wire.search import expressions_from, response_message, search_from
from embeddb_server.handlers import Asked
from embeddb_server.services.batches import answer_each
from embeddb_server.services.served import Served, Service

# What a quick search may ask for, which is by one vector.
QUICK_FIELDS = frozenset({"collection", "vectors", "columns", "k", "model", "include_operands", "effort"})
# One more is asked of the index, and more where scores are equal: still few enough for it to answer at once.
QUICK_K = 50
# Quick searches that are alike in these become one, which is by many vectors.
KIND = attrgetter("collection", "vectors.dimension", "columns", "k", "model", "include_operands", "effort")

AskedSearch: TypeAlias = Asked[search_pb2.SearchRequest, search_pb2.SearchResponse]
Answering: TypeAlias = Generator[AskedSearch, None, search_pb2.SearchResponse]

NO_HITS = HitColumns((), ItemColumns((), (), ()), ())


class SearchService(Service, search_pb2_grpc.SearchServiceServicer):
    """Finds items.

    Attributes:
        quick: tells, by method, which requests are answered as soon as another thread would have them.
    """

    def __init__(self, served: Served) -> None:
        super().__init__(served)
        self.quick: dict[str, Callable[[Any], bool]] = {
            "/embeddb.v1.SearchService/Search": self._is_quick,
            "/embeddb.v1.SearchService/StreamSearch": lambda message: self._is_quick(message.request),
        }

    def Search(  # noqa: D102, N802 - documented in the .proto
        self, request: search_pb2.SearchRequest, context: grpc.ServicerContext
    ) -> Answering:
        return (yield from self._search(request))

    def StreamSearch(  # noqa: D102, N802 - documented in the .proto
        self, requests: Iterator[search_pb2.StreamSearchRequest], context: grpc.ServicerContext
    ) -> Iterator[search_pb2.StreamSearchResponse | AskedSearch]:
        for request in requests:
            try:
                response = yield from self._search(request.request)
                yield search_pb2.StreamSearchResponse(response=response)
            except EmbeddbError as error:
                yield search_pb2.StreamSearchResponse(error=error_message(error))

    def _is_quick(self, request: search_pb2.SearchRequest) -> bool:
        return _is_plain(request) and self._collection(request.collection).is_prompt(request.model or None)

    def _search(self, request: search_pb2.SearchRequest) -> Answering:
        current().check()
        search = Asked(request, KIND(request), self._answer)
        yield search
        return search.result()

    def _answer(self, requests: Sequence[search_pb2.SearchRequest]) -> list[search_pb2.SearchResponse]:
        """Answer a search, or several quick ones of one kind, as one on this thread."""
        first = requests[0]
        if len(requests) == 1:
            return [response_message(self._found(first), columns=first.columns)]
        together = search_pb2.SearchRequest()
        together.CopyFrom(first)
        together.vectors.data = b"".join(request.vectors.data for request in requests)
        found = self._found(together, here=True)
        return [response_message(each, columns=first.columns) for each in found.each()]

    def _found(self, request: search_pb2.SearchRequest, *, here: bool = False) -> HitColumns:
        collection = self._collection(request.collection)
        expressions = expressions_from(request)
        if not expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        well_formed = tuple([each for each in expressions if not isinstance(each, EmbeddbError)])
        found = NO_HITS
        if well_formed:
            found = collection.search_columns(search_from(request, well_formed), here=here)
        if len(well_formed) < len(expressions):
            found = replace(found, outcomes=answer_each(expressions, lambda _: found.outcomes))
        return found


def _is_plain(request: search_pb2.SearchRequest) -> bool:
    """Whether a search is by one vector, and asks for nothing but a few hits."""
    return (
        len(request.vectors.data) == 4 * request.vectors.dimension
        and 1 <= (request.k if request.HasField("k") else DEFAULT_K) <= QUICK_K
        and request.effort != search_pb2.EFFORT_EXACT
        and QUICK_FIELDS.issuperset([field.name for field, _ in request.ListFields()])
    )
