"""Maps on the wire."""

from __future__ import annotations

from embeddb.questions import DEFAULT_MIN_DISTANCE, DEFAULT_SAMPLE, Layout, Map, Pca, Umap
from embeddb.questions.mapping import DEFAULT_NEIGHBOURS
from embeddb_protos.v1 import analysis_pb2
from embeddb_protos.wire.codec import Codec
from embeddb_protos.wire.expressions import matrix_from, matrix_message

__all__ = ["MAP"]


class _MapCodec(Codec[Map, Layout]):
    method = "MapItems"
    streamed = True

    def request_message(self, collection: str, question: Map) -> analysis_pb2.MapItemsRequest:
        message = analysis_pb2.MapItemsRequest(
            collection=collection,
            filter=question.filter,
            sample=question.sample,
            center=question.center,
            model=question.model or "",
        )
        match question.by:
            case Pca():
                message.pca.SetInParent()
            case Umap(neighbours, min_distance, seed):
                umap = analysis_pb2.Umap(neighbours=neighbours, min_distance=min_distance, seed=seed)
                message.umap.CopyFrom(umap)
        return message

    def question_from(self, message: analysis_pb2.MapItemsRequest) -> Map:
        return Map(
            by=_by_from(message),
            filter=message.filter,
            sample=message.sample or DEFAULT_SAMPLE,
            center=message.center,
            model=message.model or None,
        )

    def response_message(self, answer: Layout) -> analysis_pb2.MapItemsResponse:
        return analysis_pb2.MapItemsResponse(
            ids=answer.ids,
            points=matrix_message(answer.points),
            items=answer.items,
            explained=answer.explained,
        )

    def answer_from(self, message: analysis_pb2.MapItemsResponse) -> Layout:
        explained = message.explained if message.HasField("explained") else None
        return Layout(list(message.ids), matrix_from(message.points), message.items, explained)


def _by_from(message: analysis_pb2.MapItemsRequest) -> Pca | Umap:
    if message.WhichOneof("by") != "umap":
        return Pca()
    sent = message.umap
    min_distance = sent.min_distance if sent.HasField("min_distance") else DEFAULT_MIN_DISTANCE
    return Umap(sent.neighbours or DEFAULT_NEIGHBOURS, min_distance, sent.seed)


MAP = _MapCodec()
