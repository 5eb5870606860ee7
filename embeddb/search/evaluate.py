"""Expression -> unit vector, in one space (3CosAdd; see `embeddb.query`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import Expression, Image, Item, Operand, Text, Unit, Vector

__all__ = ["Space", "evaluate", "item_ids"]

Floats = npt.NDArray[np.float32]
Outcome = Floats | EmbeddbError

# A sum is zero when what is left of it is no more than float32's rounding of its operands.
_ZERO = 1e-6


class Space(Protocol):
    """What evaluation asks of a space; each answer is in the order of what was asked, errors in place."""

    @property
    def dimension(self) -> int:
        """Of the space's vectors."""

    def encode(self, contents: Sequence[Image | Text]) -> Sequence[Outcome]:
        """The model's features of images and texts, (dimension,) each."""

    def lookup(self, item_ids: Sequence[str]) -> Sequence[Outcome]:
        """The stored features of items, (dimension,) each."""


def evaluate(expressions: Sequence[Expression], space: Space) -> list[Outcome]:
    """Evaluate a batch: everything to encode in one call, everything to look up in another.

    Returns:
        One an expression, in order: a (dimension,) float32 vector of unit length, or why there is none.
    """
    operands = {operand for expression in expressions for operand in _leaves(expression)}
    to_encode = [each for each in operands if isinstance(each, Image | Text)]
    to_look_up = [each for each in operands if isinstance(each, Item)]
    vectors: dict[Operand, Outcome] = {}
    if to_encode:
        vectors.update(zip(to_encode, space.encode(to_encode), strict=True))
    if to_look_up:
        looked_up = space.lookup([item.id for item in to_look_up])
        vectors.update(zip(to_look_up, looked_up, strict=True))
    return [_outcome(expression, vectors, space.dimension) for expression in expressions]


def item_ids(expression: Expression) -> set[str]:
    """The ids of the items that an expression names."""
    return {operand.id for operand in _leaves(expression) if isinstance(operand, Item)}


def _leaves(expression: Expression) -> Iterator[Operand]:
    for _, operand in expression.terms:
        if isinstance(operand, Unit):
            yield from _leaves(operand.expression)
        else:
            yield operand


def _outcome(expression: Expression, vectors: Mapping[Operand, Outcome], dimension: int) -> Outcome:
    try:
        return _sum(expression, vectors, dimension).astype(np.float32)
    except EmbeddbError as error:
        return error


def _sum(
    expression: Expression, vectors: Mapping[Operand, Outcome], dimension: int
) -> npt.NDArray[np.float64]:
    """The unit vector of an expression; in float64, so that the order of its terms does not show."""
    largest = max(abs(weight) for weight, _ in expression.terms) or 1.0
    total = np.zeros(dimension)
    for weight, operand in expression.terms:
        # Relative to the largest weight, so that neither huge nor tiny ones leave float64's range.
        total += weight / largest * _operand(operand, vectors, dimension)
    length = float(np.linalg.norm(total))
    if length <= _ZERO:
        raise InvalidArgumentError(
            "expression", expression, "sums to the zero vector, which has no direction"
        )
    return total / length


def _operand(operand: Operand, vectors: Mapping[Operand, Outcome], dimension: int) -> npt.NDArray[np.float64]:
    if isinstance(operand, Unit):
        return _sum(operand.expression, vectors, dimension)
    vector = operand.values if isinstance(operand, Vector) else vectors[operand]
    if isinstance(vector, EmbeddbError):
        raise vector
    if len(vector) != dimension:
        raise InvalidArgumentError("vector", f"{len(vector)} dimensions", f"the space has {dimension}")
    exact = vector.astype(np.float64)
    length = float(np.linalg.norm(exact))
    if length == 0.0:
        raise InvalidArgumentError(
            "expression.operand", operand, "is the zero vector, which has no direction"
        )
    return exact / length
