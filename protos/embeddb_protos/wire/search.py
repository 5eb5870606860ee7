"""Searches and hits on the wire."""

from __future__ import annotations

from collections.abc import Sequence

from embeddb.errors import EmbeddbError
from embeddb.query import DEFAULT_K, Expression, Hit, Search
from embeddb_protos.v1 import search_pb2
from embeddb_protos.wire.errors import error_from, error_message
from embeddb_protos.wire.expressions import expression_message
from embeddb_protos.wire.items import item_from, item_message, view_from, view_message

__all__ = ["result_from", "result_message", "search_from", "search_message"]


def search_message(collection: str, search: Search) -> search_pb2.SearchRequest:
    """A search of a collection as a message; images are read here."""
    return search_pb2.SearchRequest(
        collection=collection,
        expressions=[expression_message(expression) for expression in search.expressions],
        k=search.k,
        model=search.model or "",
        include_operands=search.include_operands,
        view=view_message(search.view),
    )


def search_from(message: search_pb2.SearchRequest, expressions: Sequence[Expression]) -> Search:
    """The search that a message holds, for those of its expressions that were well formed.

    Raises:
        InvalidArgumentError: k is out of range.
    """
    return Search(
        expressions=expressions,
        k=message.k if message.HasField("k") else DEFAULT_K,
        model=message.model or None,
        include_operands=message.include_operands,
        view=view_from(message.view),
    )


def result_message(result: list[Hit] | EmbeddbError) -> search_pb2.SearchResult:
    """The outcome of one expression as a message."""
    if isinstance(result, EmbeddbError):
        return search_pb2.SearchResult(error=error_message(result))
    hits = [search_pb2.Hit(item=item_message(hit.item), score=hit.score) for hit in result]
    return search_pb2.SearchResult(hits=search_pb2.Hits(hits=hits))


def result_from(message: search_pb2.SearchResult) -> list[Hit] | EmbeddbError:
    """The outcome of one expression."""
    if message.HasField("error"):
        return error_from(message.error)
    return [Hit(item_from(hit.item), hit.score) for hit in message.hits.hits]
