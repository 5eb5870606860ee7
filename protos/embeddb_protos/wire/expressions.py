"""Vectors and expressions on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddb.errors import InvalidArgumentError
from embeddb.options import Arithmetic, Combine
from embeddb.query import Between, Box, Expression, Image, Item, Operand, Sum, Text, Unit, Vector
from embeddb_protos.v1 import analysis_pb2, common_pb2, expressions_pb2

__all__ = [
    "arithmetic_from",
    "arithmetic_message",
    "box_from",
    "box_message",
    "expression_from",
    "expression_message",
    "matrix_from",
    "matrix_message",
    "vector_from",
    "vector_message",
    "vectors_fields",
    "vectors_from",
    "vectors_message",
]

_COMBINES = {
    Combine.SUM: expressions_pb2.COMBINE_SUM,
    Combine.PRODUCT: expressions_pb2.COMBINE_PRODUCT,
    Combine.BEST: expressions_pb2.COMBINE_BEST,
}
_COMBINES_BACK: dict[int, Combine] = {number: combine for combine, number in _COMBINES.items()}

# Said outright, so that the bytes are the same on a big-endian machine.
_FLOAT32 = np.dtype("<f4")


def vector_message(values: npt.NDArray[np.float32]) -> common_pb2.Vector:
    """(d,) float32 as a message."""
    return common_pb2.Vector(data=values.astype(_FLOAT32, copy=False).tobytes(), dimension=len(values))


def vector_from(field: str, message: common_pb2.Vector) -> npt.NDArray[np.float32]:
    """(d,) float32, read-only, over the message's own bytes; the vocabulary checks that it is finite.

    Raises:
        InvalidArgumentError: the bytes are not 4 x dimension, or the dimension is 0.
    """
    if message.dimension == 0 or len(message.data) != 4 * message.dimension:
        given = f"{len(message.data)} bytes for dimension {message.dimension}"
        raise InvalidArgumentError(
            f"{field}.data", given, "must be 4 x dimension bytes, dimension at least 1"
        )
    return np.frombuffer(message.data, dtype=_FLOAT32).astype(np.float32, copy=False)


def vectors_message(vectors: Sequence[npt.NDArray[np.float32]]) -> common_pb2.Vectors:
    """Vectors of one dimension, at least one, (d,) float32 each without gaps, as a message."""
    return common_pb2.Vectors(**vectors_fields(vectors))


def vectors_fields(vectors: Sequence[npt.NDArray[np.float32]]) -> dict[str, Any]:
    """What `vectors_message` says, for the message that holds it: to hold a message is to copy it."""
    # One copy of them, where to concatenate them first would take two.
    rows = vectors if _FLOAT32.isnative else [each.astype(_FLOAT32) for each in vectors]
    return {"data": b"".join([each.data for each in rows]), "dimension": len(vectors[0])}


def vectors_from(field: str, message: common_pb2.Vectors) -> npt.NDArray[np.float32]:
    """(n, d) float32, read-only, over the message's own bytes; the vocabulary checks that it is finite.

    Raises:
        InvalidArgumentError: the bytes are not of whole vectors, or the dimension is 0.
    """
    data, dimension = message.data, message.dimension
    if dimension == 0 or len(data) % (4 * dimension):
        given = f"{len(data)} bytes for dimension {dimension}"
        allowed = "must be 4 x dimension bytes a vector, dimension at least 1"
        raise InvalidArgumentError(f"{field}.data", given, allowed)
    return np.frombuffer(data, dtype=_FLOAT32).astype(np.float32, copy=False).reshape(-1, dimension)


def matrix_message(values: npt.NDArray[np.float32]) -> analysis_pb2.Matrix:
    """(n, m) float32 as a message."""
    rows, columns = values.shape
    return analysis_pb2.Matrix(data=values.astype(_FLOAT32, copy=False).tobytes(), rows=rows, columns=columns)


def matrix_from(message: analysis_pb2.Matrix) -> npt.NDArray[np.float32]:
    """(n, m) float32, read-only."""
    values = np.frombuffer(message.data, dtype=_FLOAT32).astype(np.float32, copy=False)
    return values.reshape(message.rows, message.columns)


def box_message(box: Box) -> common_pb2.Box:
    """The part of an image that is meant, as a message."""
    left, top, right, bottom = box
    return common_pb2.Box(left=left, top=top, right=right, bottom=bottom)


def box_from(message: common_pb2.Content | expressions_pb2.Term, kind: str | None) -> Box | None:
    """The part that is meant of what a message holds; None for all of it.

    Raises:
        InvalidArgumentError: there is a box, and what it holds is no image.
    """
    if not message.HasField("box"):
        return None
    box = (message.box.left, message.box.top, message.box.right, message.box.bottom)
    if kind != "image":
        raise InvalidArgumentError("box", box, f"must be absent, since {kind or 'nothing'} is no image")
    return box


def expression_message(expression: Expression) -> expressions_pb2.Expression:
    """The expression as a message; images are read here.

    Raises:
        InvalidArgumentError: an image's file cannot be read.
    """
    terms = []
    for weight, operand in expression.terms:
        term = expressions_pb2.Term() if weight == 1.0 else expressions_pb2.Term(weight=weight)
        match operand:
            case Image():
                term.image = operand.read()
                if operand.box is not None:
                    term.box.CopyFrom(box_message(operand.box))
            case Text(text):
                term.text = text
            case Item(item_id):
                term.item = item_id
            case Vector():
                term.vector.CopyFrom(vector_message(operand.values))
            case Unit(nested):
                term.expression.CopyFrom(expression_message(nested))
            case Between(start, end, t):
                term.between.start.CopyFrom(expression_message(start))
                term.between.end.CopyFrom(expression_message(end))
                term.between.t = t
            case _:
                raise InvalidArgumentError("expression.operand", operand, "is not one that can be sent")
        terms.append(term)
    return expressions_pb2.Expression(terms=terms)


def expression_from(message: expressions_pb2.Expression) -> Expression:
    """The expression that a message holds.

    Raises:
        InvalidArgumentError: it has no terms, or an operand or a weight is malformed.
    """
    operands = []
    for term in message.terms:
        weight = term.weight if term.HasField("weight") else 1.0
        operands.append((weight, _operand_from(term)))
    return Sum(tuple(operands))


def arithmetic_message(arithmetic: Arithmetic) -> expressions_pb2.Arithmetic:
    """How expressions are evaluated, as a message."""
    return expressions_pb2.Arithmetic(
        combine=_COMBINES[arithmetic.combine],
        keep_lengths=not arithmetic.normalise,
        center=arithmetic.center,
    )


def arithmetic_from(message: expressions_pb2.Arithmetic) -> Arithmetic:
    """How expressions are evaluated.

    Raises:
        InvalidArgumentError: a way to combine operands that this version does not know, or it does not fit.
    """
    number = message.combine or expressions_pb2.COMBINE_SUM
    if number not in _COMBINES_BACK:
        raise InvalidArgumentError("arithmetic.combine", number, f"must be one of {', '.join(Combine)}")
    return Arithmetic(_COMBINES_BACK[number], not message.keep_lengths, message.center)


def _operand_from(term: expressions_pb2.Term) -> Operand:
    box = box_from(term, term.WhichOneof("operand"))
    match term.WhichOneof("operand"):
        case "image":
            return Image(term.image, box)
        case "text":
            return Text(term.text)
        case "item":
            return Item(term.item)
        case "vector":
            return Vector(vector_from("vector", term.vector))
        case "expression":
            return Unit(expression_from(term.expression))
        case "between":
            start, end = expression_from(term.between.start), expression_from(term.between.end)
            return Between(start, end, term.between.t)
    raise InvalidArgumentError(
        "expression.operand", "none", "one of image, text, item, vector, expression, between must be set"
    )
