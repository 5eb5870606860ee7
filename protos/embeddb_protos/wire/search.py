"""Searches and hits on the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.options import Diversify, Effort, Fusion, FusionMethod, Group, KReciprocal
from embeddb.query import DEFAULT_K, Contribution, Expression, Hit, HitColumns, Hits, Search, Vector
from embeddb_protos.v1 import search_pb2
from embeddb_protos.wire.columns import columns_from, columns_message, fits_columns
from embeddb_protos.wire.errors import error_from, error_message, parse_each
from embeddb_protos.wire.expressions import (
    arithmetic_from,
    arithmetic_message,
    expression_from,
    expression_message,
    vectors_fields,
    vectors_from,
)
from embeddb_protos.wire.items import fill_item, item_from, view_from, view_message
from embeddb_protos.wire.versions import meaning

__all__ = [
    "expressions_from",
    "k_reciprocal_from",
    "k_reciprocal_message",
    "response_from",
    "response_message",
    "search_from",
    "search_message",
]

_FUSIONS = {
    FusionMethod.RANK: search_pb2.FUSION_METHOD_RANK,
    FusionMethod.MIN_MAX: search_pb2.FUSION_METHOD_MIN_MAX,
    FusionMethod.Z_SCORE: search_pb2.FUSION_METHOD_Z_SCORE,
    FusionMethod.SIDE_BY_SIDE: search_pb2.FUSION_METHOD_SIDE_BY_SIDE,
}
_FUSIONS_BACK: dict[int, FusionMethod] = {number: method for method, number in _FUSIONS.items()}
_EFFORTS = {
    Effort.BALANCED: search_pb2.EFFORT_BALANCED,
    Effort.SPEED: search_pb2.EFFORT_SPEED,
    Effort.ACCURACY: search_pb2.EFFORT_ACCURACY,
    Effort.EXACT: search_pb2.EFFORT_EXACT,
}
_EFFORTS_BACK: dict[int, Effort] = {
    search_pb2.EFFORT_UNSPECIFIED: Effort.BALANCED,
    **{number: effort for effort, number in _EFFORTS.items()},
}


# What most searches ask for is said by saying nothing. They share these objects, and `in` looks for the same
# object before it compares.
_PLAIN_VIEWS = (Search.view,)
_PLAIN_SUMS = (Search.arithmetic,)


def search_message(collection: str, search: Search) -> search_pb2.SearchRequest:
    """A search of a collection as a message; images are read here."""
    vectors = _plain_vectors(search.expressions)
    message = search_pb2.SearchRequest(
        collection=collection,
        expressions=None if vectors else map(expression_message, search.expressions),
        vectors=vectors_fields(vectors) if vectors else None,
        columns=True,
        k=search.k,
        model=search.model or "",
        include_operands=search.include_operands,
        view=None if search.view in _PLAIN_VIEWS else view_message(search.view),
        arithmetic=None if search.arithmetic in _PLAIN_SUMS else arithmetic_message(search.arithmetic),
        explain=search.explain,
        candidates=search.candidates,
        filter=search.filter,
        offset=search.offset,
        min_score=search.min_score,
        effort=_EFFORTS[search.effort],
    )
    if search.group is not None:
        message.group.CopyFrom(search_pb2.Group(field=search.group.field, size=search.group.size))
    if search.fusion is not None:
        message.fusion.CopyFrom(_fusion_message(search.fusion))
    match search.rerank:
        case Diversify(weight):
            message.diversify.weight = weight
        case KReciprocal() as reciprocal:
            message.k_reciprocal.CopyFrom(k_reciprocal_message(reciprocal))
    return message


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
        view=view_from(message.view) if message.HasField("view") else Search.view,
        arithmetic=arithmetic_from(message.arithmetic)
        if message.HasField("arithmetic")
        else Search.arithmetic,
        explain=message.explain,
        candidates=message.candidates if message.HasField("candidates") else None,
        filter=message.filter,
        offset=message.offset,
        min_score=message.min_score if message.HasField("min_score") else None,
        group=Group(message.group.field, message.group.size or 1) if message.HasField("group") else None,
        rerank=_rerank_from(message),
        fusion=_fusion_from(message.fusion) if message.HasField("fusion") else None,
        effort=meaning("effort", _EFFORTS_BACK, message.effort),
    )


def expressions_from(message: search_pb2.SearchRequest) -> list[Expression | EmbeddbError]:
    """The expressions of a search, why there is none in the place of each that is malformed.

    Raises:
        InvalidArgumentError: the bytes of the vectors are not of whole vectors.
    """
    expressions = parse_each(expression_from, message.expressions)
    if not message.HasField("vectors"):
        return expressions
    vectors = vectors_from("vectors", message.vectors)
    try:
        return [*expressions, *Vector.rows(vectors)]
    except InvalidArgumentError:
        return [*expressions, *parse_each(Vector, vectors)]


def response_message(found: HitColumns, *, columns: bool) -> search_pb2.SearchResponse:
    """The outcomes of a batch as a message.

    Args:
        columns: whether who asked can read hits as columns.
    """
    if columns and fits_columns(found):
        return search_pb2.SearchResponse(columns=columns_message(found))
    return search_pb2.SearchResponse(results=map(_result_message, found.hits()))


def response_from(message: search_pb2.SearchResponse) -> list[Hits | EmbeddbError]:
    """The outcomes of a batch."""
    if message.HasField("columns"):
        return columns_from(message.columns).hits()
    return list(map(_result_from, message.results))


def _result_message(result: Hits | EmbeddbError) -> search_pb2.SearchResult:
    """The outcome of one expression as a message."""
    if isinstance(result, EmbeddbError):
        return search_pb2.SearchResult(error=error_message(result))
    return search_pb2.SearchResult(hits=search_pb2.Hits(hits=[_hit_message(hit) for hit in result]))


def _result_from(message: search_pb2.SearchResult) -> Hits | EmbeddbError:
    """The outcome of one expression."""
    if message.HasField("error"):
        return error_from(message.error)
    return Hits(map(_hit_from, message.hits.hits))


def _plain_vectors(expressions: Sequence[Expression]) -> list[npt.NDArray[np.float32]] | None:
    """The vectors (d,) of expressions that are nothing else, and of one dimension."""
    vectors = [each.values for each in expressions if isinstance(each, Vector)]
    alike = len(vectors) == len(expressions) and len(set(map(len, vectors))) == 1
    return vectors if alike else None


def _fusion_message(fusion: Fusion) -> search_pb2.Fusion:
    return search_pb2.Fusion(models=fusion.models, method=_FUSIONS[fusion.method], weights=fusion.weights)


def _fusion_from(message: search_pb2.Fusion) -> Fusion:
    number = message.method or search_pb2.FUSION_METHOD_RANK
    if number not in _FUSIONS_BACK:
        raise InvalidArgumentError("fusion.method", number, f"must be one of {', '.join(FusionMethod)}")
    return Fusion(message.models, _FUSIONS_BACK[number], message.weights)


def k_reciprocal_message(rerank: KReciprocal) -> search_pb2.KReciprocal:
    """A k-reciprocal re-ranking as a message."""
    return search_pb2.KReciprocal(k1=rerank.k1, k2=rerank.k2, weight=rerank.weight)


def k_reciprocal_from(message: search_pb2.KReciprocal) -> KReciprocal:
    """The re-ranking that a message holds.

    Raises:
        InvalidArgumentError: a number of it is out of range.
    """
    default = KReciprocal()
    weight = message.weight if message.HasField("weight") else default.weight
    return KReciprocal(message.k1 or default.k1, message.k2 or default.k2, weight)


def _rerank_from(message: search_pb2.SearchRequest) -> Diversify | KReciprocal | None:
    match message.WhichOneof("rerank"):
        case "diversify":
            return (
                Diversify(message.diversify.weight) if message.diversify.HasField("weight") else Diversify()
            )
        case "k_reciprocal":
            return k_reciprocal_from(message.k_reciprocal)
    return None


def _hit_message(hit: Hit) -> search_pb2.Hit:
    message = search_pb2.Hit(score=hit.score)
    fill_item(message.item, hit.item)
    if hit.model is not None:
        message.model = hit.model
    for each in hit.explanation:
        message.explanation.add(weight=each.weight, similarity=each.similarity, share=each.share)
    if hit.group is not None:
        message.group_json = json.dumps(hit.group)
    return message


def _hit_from(message: search_pb2.Hit) -> Hit:
    parts = message.explanation
    # As with the maps of an item: most hits have none.
    explanation = tuple(Contribution(c.weight, c.similarity, c.share) for c in parts) if parts else ()
    group = json.loads(message.group_json) if message.group_json else None
    return Hit(item_from(message.item), message.score, explanation, group, message.model or None)
