"""Expression -> query: its operands as vectors of one space, and their sum (3CosAdd; see `embeddb.query`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.options import Arithmetic, Combine
from embeddb.query import Between, Expression, Image, Item, Modality, Operand, Text, Unit, Vector, leaves

__all__ = ["Query", "Space", "evaluate", "vectors_of"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
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

    def modalities(self, item_ids: Sequence[str]) -> Sequence[Modality | None]:
        """What kind of thing each item is; None for one of features alone, or one that is not there."""

    def mean(self, modality: Modality | None, normalise: bool) -> Doubles:
        """The mean vector (dimension,) of the items of a modality.

        Raises:
            FailedPreconditionError: there are none.
        """


@dataclass(frozen=True, eq=False)
class Query:
    """An expression in a space.

    Attributes:
        weights: (m,) of the operands, as written.
        coefficients: (m,) such that their sum over the operands has unit length; zeros where the operands
            cancel, which only a search by their sum refuses.
        operands: (m, d), as they enter the sum: centred and normalised as the arithmetic says.
    """

    weights: Doubles
    coefficients: Doubles
    operands: Doubles

    @property
    def vector(self) -> Floats:
        """The sum, (d,) float32 of unit length."""
        return _weigh(self.coefficients, self.operands).astype(np.float32)

    @property
    def sum(self) -> Floats:
        """The sum of the operands as they are weighted, (d,) float32, whatever its length."""
        with np.errstate(over="ignore"):  # What is infinite is refused by the index, by name.
            return _weigh(self.weights, self.operands).astype(np.float32)

    def probes(self, combine: Combine) -> Floats:
        """The vectors whose neighbours are candidates, (p, d) float32 of unit length."""
        if combine is Combine.SUM:
            return self.vector[np.newaxis]
        wanted = self.operands[self.weights > 0].astype(np.float32)
        if combine is Combine.PRODUCT and self.coefficients.any():
            return np.vstack([wanted, self.vector])
        return wanted


def evaluate(
    expressions: Sequence[Expression], space: Space, arithmetic: Arithmetic
) -> list[Query | EmbeddbError]:
    """Evaluate a batch: everything to encode in one call, everything to look up in another.

    Returns:
        One query an expression, in order, or why there is none.
    """
    return _Evaluation(expressions, space, arithmetic).queries()


def vectors_of(expressions: Sequence[Expression], space: Space, arithmetic: Arithmetic) -> Floats:
    """The sums of expressions, (n, dimension) float32 of unit length each.

    Raises:
        EmbeddbError: one of them could not be evaluated.
    """
    vectors = []
    for outcome in evaluate(expressions, space, arithmetic):
        if isinstance(outcome, EmbeddbError):
            raise outcome
        vectors.append(outcome.vector)
    return np.stack(vectors)


class _Evaluation:
    """One batch under way: the vectors and modalities of all leaves, by leaf."""

    def __init__(self, expressions: Sequence[Expression], space: Space, arithmetic: Arithmetic) -> None:
        self._expressions = expressions
        self._space = space
        self._arithmetic = arithmetic
        distinct = dict.fromkeys(leaf for expression in expressions for leaf in leaves(expression))
        contents = [leaf for leaf in distinct if isinstance(leaf, Image | Text)]
        items = [leaf for leaf in distinct if isinstance(leaf, Item)]
        ids = [item.id for item in items]
        self._vectors: dict[Operand, Outcome] = {}
        self._modalities: dict[Operand, Modality | None] = {}
        if contents:
            self._vectors.update(zip(contents, space.encode(contents), strict=True))
        if items:
            self._vectors.update(zip(items, space.lookup(ids), strict=True))
        if items and arithmetic.center:
            self._modalities.update(zip(items, space.modalities(ids), strict=True))

    def queries(self) -> list[Query | EmbeddbError]:
        outcomes: list[Query | EmbeddbError] = []
        for expression in self._expressions:
            try:
                outcomes.append(self._query(expression))
            except EmbeddbError as error:
                outcomes.append(error)
        return outcomes

    def _query(self, expression: Expression) -> Query:
        weights = np.array([weight for weight, _ in expression.terms])
        operands = np.stack([self._operand(operand) for _, operand in expression.terms])
        # Relative to the largest, so that neither huge weights nor tiny ones leave float64's range.
        scaled = weights / (np.abs(weights).max() or 1.0)
        length = float(np.linalg.norm(_weigh(scaled, operands)))
        # Operands that are not normalised have the scale of the largest.
        cancels = length <= _ZERO * float(np.linalg.norm(operands, axis=1).max())
        if self._arithmetic.combine is Combine.SUM:
            if cancels:
                _refuse_zero(expression)
        elif not (weights > 0).any():
            allowed = f"needs an operand of positive weight to be combined by {self._arithmetic.combine}"
            raise InvalidArgumentError("expression", expression, allowed)
        return Query(weights, np.zeros_like(scaled) if cancels else scaled / length, operands)

    def _operand(self, operand: Operand) -> Doubles:
        """An operand as it enters the sum, (d,)."""
        match operand:
            case Unit(nested):
                return self._unit_vector(nested)
            case Between():
                return _slerp(operand, self._unit_vector(operand.start), self._unit_vector(operand.end))
            case Vector(values=values):
                vector: Outcome = values
            case _:
                vector = self._vectors[operand]
        if isinstance(vector, EmbeddbError):
            raise vector
        if len(vector) != self._space.dimension:
            allowed = f"the space has {self._space.dimension}"
            raise InvalidArgumentError("vector", f"{len(vector)} dimensions", allowed)
        exact = vector.astype(np.float64)
        if not self._arithmetic.normalise:
            return self._centred(operand, exact)
        length = float(np.linalg.norm(exact))
        if length == 0.0:
            _refuse(operand, "is the zero vector, which has no direction")
        if not self._arithmetic.center:
            return exact / length
        centred = self._centred(operand, exact / length)
        length = float(np.linalg.norm(centred))
        if length <= _ZERO:
            _refuse(operand, "is the mean of its modality, and so has no direction once that is subtracted")
        return centred / length

    def _centred(self, operand: Operand, vector: Doubles) -> Doubles:
        if not self._arithmetic.center:
            return vector
        match operand:
            case Image():
                modality: Modality | None = Modality.IMAGE
            case Text():
                modality = Modality.TEXT
            case _:
                modality = self._modalities.get(operand)
        return vector - self._space.mean(modality, self._arithmetic.normalise)

    def _unit_vector(self, expression: Expression) -> Doubles:
        """The normalised sum of a nested expression, however the outermost operands are combined."""
        weights = np.array([weight for weight, _ in expression.terms])
        scaled = weights / (np.abs(weights).max() or 1.0)
        total = _weigh(scaled, np.stack([self._operand(operand) for _, operand in expression.terms]))
        length = float(np.linalg.norm(total))
        if length <= _ZERO:
            _refuse_zero(expression)
        return total / length


def _weigh(weights: Doubles, operands: Doubles) -> Doubles:
    """The weighted sum, (d,)."""
    # Not a matrix product, whose rounding may depend on the order of two terms.
    total: Doubles = (weights[:, np.newaxis] * operands).sum(axis=0)
    return total


def _slerp(operand: Between, start: Doubles, end: Doubles) -> Doubles:
    angle = float(np.arccos(np.clip(start @ end, -1.0, 1.0)))
    if np.pi - angle <= _ZERO:
        _refuse(operand, "lies between opposites, where no way is shortest")
    if angle <= _ZERO:
        return start
    way: Doubles = (np.sin((1 - operand.t) * angle) * start + np.sin(operand.t * angle) * end) / np.sin(angle)
    return way


def _refuse(operand: Operand, why: str) -> NoReturn:
    raise InvalidArgumentError("expression.operand", operand, why)


def _refuse_zero(expression: Expression) -> NoReturn:
    raise InvalidArgumentError("expression", expression, "sums to the zero vector, which has no direction")
