"""Near-duplicates and clusters on the wire."""

from __future__ import annotations

from embeddb.errors import InvalidArgumentError
from embeddb.questions import (
    DEFAULT_CENTRAL,
    DEFAULT_DUPLICATE,
    DEFAULT_ITERATIONS,
    DEFAULT_MIN_SIZE,
    Cluster,
    Clustering,
    Clusters,
    Duplicates,
    Hdbscan,
    KMeans,
)
from embeddb_protos.v1 import analysis_pb2
from embeddb_protos.wire.codec import Codec

__all__ = ["CLUSTERS", "DUPLICATES"]


class _DuplicatesCodec(Codec[Duplicates, list[list[str]]]):
    method = "FindDuplicates"
    streamed = True

    def request_message(self, collection: str, question: Duplicates) -> analysis_pb2.FindDuplicatesRequest:
        return analysis_pb2.FindDuplicatesRequest(
            collection=collection,
            threshold=question.threshold,
            filter=question.filter,
            model=question.model or "",
        )

    def question_from(self, message: analysis_pb2.FindDuplicatesRequest) -> Duplicates:
        threshold = message.threshold if message.HasField("threshold") else DEFAULT_DUPLICATE
        return Duplicates(threshold, message.filter, message.model or None)

    def response_message(self, answer: list[list[str]]) -> analysis_pb2.FindDuplicatesResponse:
        groups = [analysis_pb2.Duplicates(ids=group) for group in answer]
        return analysis_pb2.FindDuplicatesResponse(groups=groups)

    def answer_from(self, message: analysis_pb2.FindDuplicatesResponse) -> list[list[str]]:
        return [list(group.ids) for group in message.groups]


class _ClustersCodec(Codec[Clusters, Clustering]):
    method = "FindClusters"
    streamed = True

    def request_message(self, collection: str, question: Clusters) -> analysis_pb2.FindClustersRequest:
        message = analysis_pb2.FindClustersRequest(
            collection=collection,
            filter=question.filter,
            field=question.field,
            central=question.central,
            center=question.center,
            model=question.model or "",
        )
        match question.by:
            case KMeans(k, iterations, seed):
                message.k_means.CopyFrom(analysis_pb2.KMeans(k=k, iterations=iterations, seed=seed))
            case Hdbscan(min_size, neighbours):
                message.hdbscan.CopyFrom(analysis_pb2.Hdbscan(min_size=min_size, neighbours=neighbours))
        return message

    def question_from(self, message: analysis_pb2.FindClustersRequest) -> Clusters:
        return Clusters(
            by=_by_from(message),
            filter=message.filter,
            field=message.field,
            central=message.central if message.HasField("central") else DEFAULT_CENTRAL,
            center=message.center,
            model=message.model or None,
        )

    def response_message(self, answer: Clustering) -> analysis_pb2.FindClustersResponse:
        return analysis_pb2.FindClustersResponse(
            ids=list(answer.labels),
            labels=list(answer.labels.values()),
            clusters=[
                analysis_pb2.Cluster(label=each.label, size=each.size, central=each.central)
                for each in answer.clusters
            ],
            inertia=answer.inertia,
            written=answer.written,
        )

    def answer_from(self, message: analysis_pb2.FindClustersResponse) -> Clustering:
        return Clustering(
            labels=dict(zip(message.ids, message.labels, strict=True)),
            clusters=[Cluster(each.label, each.size, tuple(each.central)) for each in message.clusters],
            inertia=message.inertia if message.HasField("inertia") else None,
            written=message.written,
        )


def _by_from(message: analysis_pb2.FindClustersRequest) -> KMeans | Hdbscan:
    match message.WhichOneof("by"):
        case "k_means":
            sent = message.k_means
            return KMeans(sent.k, sent.iterations or DEFAULT_ITERATIONS, sent.seed)
        case "hdbscan":
            dense = message.hdbscan
            neighbours = dense.neighbours if dense.HasField("neighbours") else None
            return Hdbscan(dense.min_size or DEFAULT_MIN_SIZE, neighbours)
    raise InvalidArgumentError("by", "none", "one of k_means, hdbscan must be set")


DUPLICATES = _DuplicatesCodec()
CLUSTERS = _ClustersCodec()
