"""Searches and hits on the wire."""

from __future__ import annotations

from collections.abc import Sequence

from embeddb.errors import EmbeddbError
from embeddb.query import DEFAULT_CANDIDATES, DEFAULT_K, Contribution, Expression, Hit, Search
from embeddb_protos.v1 import search_pb2
from embeddb_protos.wire.errors import error_from, error_message
from embeddb_protos.wire.expressions import arithmetic_from, arithmetic_message, expression_message
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
        arithmetic=arithmetic_message(search.arithmetic),
        explain=search.explain,
        candidates=search.candidates,
        filter=search.filter,
    )


def search_from(message: search_pb2.SearchRequest, expressions: Sequence[Expression]) -> Search:
    """The search that a message holds, for those of its expressions that were well formed.

    Raises:
        InvalidArgumentError: an option is out of range, or is not known here.
    """
    return Search(
        expressions=expressions,
        k=message.k if message.HasField("k") else DEFAULT_K,
        model=message.model or None,
        include_operands=message.include_operands,
        view=view_from(message.view),
        arithmetic=arithmetic_from(message.arithmetic),
        explain=message.explain,
        candidates=message.candidates if message.HasField("candidates") else DEFAULT_CANDIDATES,
        filter=message.filter,
    )


def result_message(result: list[Hit] | EmbeddbError) -> search_pb2.SearchResult:
    """The outcome of one expression as a message."""
    if isinstance(result, EmbeddbError):
        return search_pb2.SearchResult(error=error_message(result))
    return search_pb2.SearchResult(hits=search_pb2.Hits(hits=[_hit_message(hit) for hit in result]))


def result_from(message: search_pb2.SearchResult) -> list[Hit] | EmbeddbError:
    """The outcome of one expression."""
    if message.HasField("error"):
        return error_from(message.error)
    return [_hit_from(hit) for hit in message.hits.hits]


def _hit_message(hit: Hit) -> search_pb2.Hit:
    message = search_pb2.Hit(item=item_message(hit.item), score=hit.score)
    for each in hit.explanation:
        message.explanation.add(weight=each.weight, similarity=each.similarity, share=each.share)
    return message


def _hit_from(message: search_pb2.Hit) -> Hit:
    explanation = tuple(Contribution(c.weight, c.similarity, c.share) for c in message.explanation)
    return Hit(item_from(message.item), message.score, explanation)
