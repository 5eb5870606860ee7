"""Questions and their answers on the wire: one codec a kind of question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import Prediction
from embeddb.questions import (
    DEFAULT_FALSE_ACCEPT_RATE,
    DEFAULT_NEIGHBOURS,
    DEFAULT_RANKS,
    DEFAULT_TEMPLATES,
    DEFAULT_TOP,
    Calibrate,
    Calibration,
    Classify,
    Clusters,
    Compare,
    Duplicates,
    Evaluate,
    Map,
    Metrics,
    Neighbours,
    OwnClasses,
    Question,
    ZeroShot,
)
from embeddb_protos.v1 import analysis_pb2
from embeddb_protos.wire.codec import Codec
from embeddb_protos.wire.errors import error_from, error_message
from embeddb_protos.wire.expressions import (
    arithmetic_from,
    arithmetic_message,
    expression_from,
    expression_message,
    matrix_from,
    matrix_message,
)
from embeddb_protos.wire.grouping import CLUSTERS, DUPLICATES
from embeddb_protos.wire.items import prediction_messages, predictions_from
from embeddb_protos.wire.mapping import MAP
from embeddb_protos.wire.search import k_reciprocal_from, k_reciprocal_message

__all__ = ["CODECS", "codec_of"]

Outcomes = list[list[Prediction] | EmbeddbError]


class _CompareCodec(Codec[Compare, npt.NDArray[np.float32]]):
    method = "Compare"

    def request_message(self, collection: str, question: Compare) -> analysis_pb2.CompareRequest:
        return analysis_pb2.CompareRequest(
            collection=collection,
            expressions=[expression_message(each) for each in question.expressions],
            others=[expression_message(each) for each in question.others],
            model=question.model or "",
            arithmetic=arithmetic_message(question.arithmetic),
        )

    def question_from(self, message: analysis_pb2.CompareRequest) -> Compare:
        return Compare(
            [expression_from(each) for each in message.expressions],
            [expression_from(each) for each in message.others],
            message.model or None,
            arithmetic_from(message.arithmetic),
        )

    def response_message(self, answer: npt.NDArray[np.float32]) -> analysis_pb2.CompareResponse:
        return analysis_pb2.CompareResponse(similarities=matrix_message(answer))

    def answer_from(self, message: analysis_pb2.CompareResponse) -> npt.NDArray[np.float32]:
        return matrix_from(message.similarities)


class _ClassifyCodec(Codec[Classify, Outcomes]):
    method = "Classify"

    def request_message(self, collection: str, question: Classify) -> analysis_pb2.ClassifyRequest:
        message = analysis_pb2.ClassifyRequest(
            collection=collection,
            expressions=[expression_message(each) for each in question.expressions],
            top=question.top,
            model=question.model or "",
        )
        match question.by:
            case ZeroShot(labels, templates, scale):
                zero_shot = analysis_pb2.ZeroShot(labels=labels, templates=templates, scale=scale)
                message.zero_shot.CopyFrom(zero_shot)
            case Neighbours(field, k, temperature):
                neighbours = analysis_pb2.Neighbours(field=field, k=k, temperature=temperature)
                message.neighbours.CopyFrom(neighbours)
            case OwnClasses():
                message.own_classes.SetInParent()
        return message

    def question_from(self, message: analysis_pb2.ClassifyRequest) -> Classify:
        return Classify(
            [expression_from(each) for each in message.expressions],
            _by_from(message),
            message.top or DEFAULT_TOP,
            message.model or None,
        )

    def response_message(self, answer: Outcomes) -> analysis_pb2.ClassifyResponse:
        message = analysis_pb2.ClassifyResponse()
        for outcome in answer:
            result = message.results.add()
            if isinstance(outcome, EmbeddbError):
                result.error.CopyFrom(error_message(outcome))
            else:
                result.predictions.SetInParent()
                result.predictions.predictions.extend(prediction_messages(outcome))
        return message

    def answer_from(self, message: analysis_pb2.ClassifyResponse) -> Outcomes:
        return [
            error_from(result.error)
            if result.HasField("error")
            else list(predictions_from(result.predictions.predictions))
            for result in message.results
        ]


def _by_from(message: analysis_pb2.ClassifyRequest) -> ZeroShot | Neighbours | OwnClasses:
    match message.WhichOneof("by"):
        case "zero_shot":
            sent = message.zero_shot
            scale = sent.scale if sent.HasField("scale") else None
            return ZeroShot(sent.labels, sent.templates or DEFAULT_TEMPLATES, scale)
        case "neighbours":
            voters = message.neighbours
            temperature = voters.temperature if voters.HasField("temperature") else None
            return Neighbours(voters.field, voters.k or DEFAULT_NEIGHBOURS, temperature)
        case "own_classes":
            return OwnClasses()
    allowed = "one of zero_shot, neighbours, own_classes must be set"
    raise InvalidArgumentError("by", "none", allowed)


class _CalibrateCodec(Codec[Calibrate, Calibration]):
    method = "Calibrate"

    def request_message(self, collection: str, question: Calibrate) -> analysis_pb2.CalibrateRequest:
        return analysis_pb2.CalibrateRequest(
            collection=collection, **(asdict(question) | {"model": question.model or ""})
        )

    def question_from(self, message: analysis_pb2.CalibrateRequest) -> Calibrate:
        given = message.HasField("false_accept_rate")
        rate = message.false_accept_rate if given else DEFAULT_FALSE_ACCEPT_RATE
        return Calibrate(message.field, rate, message.model or None, message.center)

    def response_message(self, answer: Calibration) -> analysis_pb2.CalibrateResponse:
        return analysis_pb2.CalibrateResponse(**asdict(answer))

    def answer_from(self, message: analysis_pb2.CalibrateResponse) -> Calibration:
        return Calibration(
            **{field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
        )


class _EvaluateCodec(Codec[Evaluate, Metrics]):
    method = "Evaluate"
    streamed = True

    def request_message(self, collection: str, question: Evaluate) -> analysis_pb2.EvaluateRequest:
        return analysis_pb2.EvaluateRequest(
            collection=collection,
            field=question.field,
            camera=question.camera,
            queries=question.queries,
            gallery=question.gallery,
            ranks=question.ranks,
            multi_shot=question.multi_shot,
            rerank=None if question.rerank is None else k_reciprocal_message(question.rerank),
            candidates=question.candidates,
            center=question.center,
            model=question.model or "",
        )

    def question_from(self, message: analysis_pb2.EvaluateRequest) -> Evaluate:
        return Evaluate(
            field=message.field,
            camera=message.camera if message.HasField("camera") else None,
            queries=message.queries,
            gallery=message.gallery,
            ranks=message.ranks or DEFAULT_RANKS,
            multi_shot=message.multi_shot,
            rerank=k_reciprocal_from(message.rerank) if message.HasField("rerank") else None,
            candidates=message.candidates if message.HasField("candidates") else None,
            center=message.center,
            model=message.model or None,
        )

    def response_message(self, answer: Metrics) -> analysis_pb2.EvaluateResponse:
        return analysis_pb2.EvaluateResponse(**asdict(answer))

    def answer_from(self, message: analysis_pb2.EvaluateResponse) -> Metrics:
        return Metrics(
            queries=message.queries,
            unmatched=message.unmatched,
            gallery=message.gallery,
            mean_average_precision=message.mean_average_precision,
            cmc=dict(message.cmc),
            recall=dict(message.recall),
        )


CODECS: Mapping[type[Question[Any]], Codec[Any, Any]] = {
    Compare: _CompareCodec(),
    Classify: _ClassifyCodec(),
    Calibrate: _CalibrateCodec(),
    Evaluate: _EvaluateCodec(),
    Duplicates: DUPLICATES,
    Clusters: CLUSTERS,
    Map: MAP,
}
"""The codec of each kind of question."""


def codec_of(question: Question[Any]) -> Codec[Any, Any]:
    """The codec of a question.

    Raises:
        InvalidArgumentError: it is none that can be sent.
    """
    codec = CODECS.get(type(question))
    if codec is None:
        raise InvalidArgumentError("question", question, "must be one of the questions in embeddb.questions")
    return codec
