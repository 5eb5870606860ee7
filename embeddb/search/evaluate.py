"""Expression -> query: its operands as vectors of one space, and their sum (3CosAdd; see `embeddb.query`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.options import Arithmetic, Combine
from embeddb.query import (
    Between,
    Expression,
    Image,
    Item,
    Modality,
    Operand,
    Search,
    Text,
    Unit,
    Vector,
    leaves,
)
from embeddb.search.sums import ZERO, Query, norms, weighted_sum, weighted_sums

__all__ = ["Space", "evaluate", "vectors_of"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Outcome = Floats | EmbeddbError

# How most expressions are evaluated. They share this object, and `in` looks for the same object first.
_PLAIN = (Search.arithmetic,)
_IS_ZERO = "is the zero vector, which has no direction"
# The weights of a vector alone.
_ONE = np.ones(1)
_ONE.setflags(write=False)


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


def evaluate(
    expressions: Sequence[Expression], space: Space, arithmetic: Arithmetic
) -> list[Query | EmbeddbError]:
    """Evaluate a batch: everything to encode in one call, all to look up in another, the sums as one matrix.

    Returns:
        One query an expression, in order, or why there is none.
    """
    if len(expressions) == 1 and isinstance(expressions[0], Vector) and arithmetic in _PLAIN:
        return [_alone(expressions[0], space)]
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


def _alone(vector: Vector, space: Space) -> Query | EmbeddbError:
    """The query of a vector, as most searches are, in fewer steps than a batch takes, and the same."""
    values = vector.values
    if len(values) != space.dimension:
        return _misfit(values, space)
    row = values.astype(np.float64)
    length = math.sqrt(row @ row)
    if length == 0.0:
        return InvalidArgumentError("expression.operand", vector, _IS_ZERO)
    row /= length
    return Query(_ONE, _ONE, row[np.newaxis], row.astype(np.float32))


def _misfit(vector: Floats, space: Space) -> InvalidArgumentError:
    return InvalidArgumentError("vector", f"{len(vector)} dimensions", f"the space has {space.dimension}")


class _Evaluation:
    """One batch under way: all leaves as they enter the sums, by their identity."""

    def __init__(self, expressions: Sequence[Expression], space: Space, arithmetic: Arithmetic) -> None:
        self._expressions = expressions
        self._space = space
        self._arithmetic = arithmetic
        self._placed: dict[int, Doubles] = {}
        self._refused: dict[int, EmbeddbError] = {}
        self._rows: Doubles  # Once a leaf has its place.
        # Most batches are vectors alone, where the matrix of all leaves is that of all operands.
        alone = [each for each in expressions if isinstance(each, Vector)]
        self._plain = bool(alone) and len(alone) == len(expressions)
        found = alone if self._plain else [leaf for expression in expressions for leaf in leaves(expression)]
        vectors = {} if self._plain else self._found([leaf for leaf in found if not isinstance(leaf, Vector)])
        fitting: list[tuple[Operand, Floats]] = []
        for leaf in found:
            vector = leaf.values if isinstance(leaf, Vector) else vectors[leaf]
            if isinstance(vector, EmbeddbError):
                self._refuse(leaf, vector)
            elif len(vector) != space.dimension:
                self._refuse(leaf, _misfit(vector, space))
            else:
                fitting.append((leaf, vector))
        if fitting:
            self._place(fitting)

    def queries(self) -> list[Query | EmbeddbError]:
        """One an expression, in order, or why there is none."""
        if self._plain and not self._refused:
            return self._vectors()
        outcomes = [self._operands(expression) for expression in self._expressions]
        whole = [each for each in outcomes if not isinstance(each, EmbeddbError)]
        weights, rows = zip(*chain.from_iterable(whole), strict=True) if whole else ((), ())
        unit, counts = self._arithmetic.normalise, list(map(len, whole))
        summed = weighted_sums(np.array(weights), np.array(rows), counts, unit=unit)
        return [
            each if isinstance(each, EmbeddbError) else self._checked(expression, next(summed))
            for expression, each in zip(self._expressions, outcomes, strict=True)
        ]

    def _vectors(self) -> list[Query | EmbeddbError]:
        """The queries of a batch of vectors alone, none of which is refused."""
        if self._arithmetic.normalise:
            # Each is its own sum already.
            vectors = self._rows.astype(np.float32)
            return [
                Query(_ONE, _ONE, row[np.newaxis], vector)
                for row, vector in zip(self._rows, vectors, strict=True)
            ]
        count = len(self._expressions)
        summed = weighted_sums(np.ones(count), self._rows, [1] * count, unit=False)
        return [self._checked(*each) for each in zip(self._expressions, summed, strict=True)]

    def _found(self, found: Sequence[Operand]) -> dict[Operand, Outcome]:
        """The features of what is to be encoded or looked up, each of it once."""
        distinct = dict.fromkeys(found)
        contents = [leaf for leaf in distinct if isinstance(leaf, Image | Text)]
        items = [leaf for leaf in distinct if isinstance(leaf, Item)]
        vectors: dict[Operand, Outcome] = {}
        if contents:
            vectors.update(zip(contents, self._space.encode(contents), strict=True))
        if items:
            vectors.update(zip(items, self._space.lookup([item.id for item in items]), strict=True))
        return vectors

    def _place(self, found: Sequence[tuple[Operand, Floats]]) -> None:
        """Bring leaves into the form in which they enter the sums, all of them at once."""
        leaves = [leaf for leaf, _ in found]
        joined = np.concatenate([vector for _, vector in found], dtype=np.float64)
        self._rows = placed = joined.reshape(len(found), -1)
        self._placed.update(zip(map(id, leaves), placed, strict=True))
        if self._arithmetic.normalise:
            self._normalise(leaves, placed, 0.0, _IS_ZERO)
        if self._arithmetic.center:
            self._center(leaves, placed)
            if self._arithmetic.normalise:
                why = "is the mean of its modality, and so has no direction once that is subtracted"
                self._normalise(leaves, placed, ZERO, why)

    def _normalise(self, leaves: Sequence[Operand], vectors: Doubles, least: float, why: str) -> None:
        """Bring vectors (n, d) to unit length in place, but refuse those that have no more than the least."""
        lengths = norms(vectors)
        for place, length in enumerate(lengths.tolist()):
            if length <= least:
                self._refuse(leaves[place], InvalidArgumentError("expression.operand", leaves[place], why))
                lengths[place] = 1.0
        vectors /= lengths[:, np.newaxis]

    def _center(self, leaves: Sequence[Operand], vectors: Doubles) -> None:
        """Subtract from each vector (n, d) the mean of its modality, in place."""
        ids = [leaf.id for leaf in leaves if isinstance(leaf, Item)]
        of_items = dict(zip(ids, self._space.modalities(ids), strict=True)) if ids else {}
        for leaf, vector in zip(leaves, vectors, strict=True):
            try:
                vector -= self._space.mean(_modality(leaf, of_items), self._arithmetic.normalise)
            except EmbeddbError as error:
                self._refuse(leaf, error)

    def _refuse(self, leaf: Operand, error: EmbeddbError) -> None:
        """Keep what is wrong with a leaf, if nothing was before."""
        self._refused.setdefault(id(leaf), error)

    def _operands(self, expression: Expression) -> list[tuple[float, Doubles]] | EmbeddbError:
        """The operands as they enter the sum, with their weights."""
        try:
            return [(weight, self._operand(operand)) for weight, operand in expression.terms]
        except EmbeddbError as error:
            return error

    def _operand(self, operand: Operand) -> Doubles:
        """An operand as it enters the sum, (d,)."""
        if (refused := self._refused.get(id(operand))) is not None:
            raise refused
        if (placed := self._placed.get(id(operand))) is not None:
            return placed
        match operand:
            case Between():
                return _slerp(operand, self._unit_vector(operand.start), self._unit_vector(operand.end))
            case Unit(nested):
                return self._unit_vector(nested)
        raise TypeError(f"{type(operand).__name__} is not an operand")

    def _unit_vector(self, expression: Expression) -> Doubles:
        """The normalised sum of a nested expression, however the outermost operands are combined."""
        weights = np.array([weight for weight, _ in expression.terms])
        scaled = weights / (np.abs(weights).max() or 1.0)
        total = weighted_sum(scaled, np.stack([self._operand(operand) for _, operand in expression.terms]))
        length = float(np.linalg.norm(total))
        if length <= ZERO:
            raise _no_direction(expression)
        return total / length

    def _checked(self, expression: Expression, summed: tuple[Query, bool]) -> Query | EmbeddbError:
        """The query, if it can be searched by; see `weighted_sums`."""
        query, cancels = summed
        if self._arithmetic.combine is Combine.SUM:
            return _no_direction(expression) if cancels else query
        if (query.weights > 0).any():
            return query
        allowed = f"needs an operand of positive weight to be combined by {self._arithmetic.combine}"
        return InvalidArgumentError("expression", expression, allowed)


def _modality(leaf: Operand, of_items: Mapping[str, Modality | None]) -> Modality | None:
    match leaf:
        case Image():
            return Modality.IMAGE
        case Text():
            return Modality.TEXT
        case Item(item_id):
            return of_items[item_id]
    return None


def _slerp(operand: Between, start: Doubles, end: Doubles) -> Doubles:
    angle = float(np.arccos(np.clip(start @ end, -1.0, 1.0)))
    if np.pi - angle <= ZERO:
        _refuse(operand, "lies between opposites, where no way is shortest")
    if angle <= ZERO:
        return start
    way: Doubles = (np.sin((1 - operand.t) * angle) * start + np.sin(operand.t * angle) * end) / np.sin(angle)
    return way


def _refuse(operand: Operand, why: str) -> NoReturn:
    raise InvalidArgumentError("expression.operand", operand, why)


def _no_direction(expression: Expression) -> InvalidArgumentError:
    return InvalidArgumentError("expression", expression, "sums to the zero vector, which has no direction")
