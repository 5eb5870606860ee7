"""Expression -> query: its operands as vectors of one space, and their sum (3CosAdd; see `embeddb.query`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, NoReturn, Protocol

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


class Query(NamedTuple):
    """An expression in a space.

    Attributes:
        weights: (m,) of the operands, as written.
        coefficients: (m,) such that their sum over the operands has unit length; zeros where the operands
            cancel, which only a search by their sum refuses.
        operands: (m, d), as they enter the sum: centred and normalised as the arithmetic says.
        vector: their sum, (d,) float32 of unit length; zeros where they cancel.
    """

    weights: Doubles
    coefficients: Doubles
    operands: Doubles
    vector: Floats

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
    """Evaluate a batch: everything to encode in one call, all to look up in another, the sums as one matrix.

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
                allowed = f"the space has {space.dimension}"
                self._refuse(leaf, InvalidArgumentError("vector", f"{len(vector)} dimensions", allowed))
            else:
                fitting.append((leaf, vector))
        if fitting:
            self._place(fitting)

    def queries(self) -> list[Query | EmbeddbError]:
        """One an expression, in order, or why there is none."""
        unit = self._arithmetic.normalise
        if self._plain and not self._refused and unit:
            # Each is its own sum already.
            vectors = self._rows.astype(np.float32)
            return [
                Query(_ONE, _ONE, row[np.newaxis], vector)
                for row, vector in zip(self._rows, vectors, strict=True)
            ]
        if self._plain and not self._refused:
            count = len(self._expressions)
            summed = _summed(np.ones(count), self._rows, [1] * count, unit=unit)
            return [self._checked(*each) for each in zip(self._expressions, summed, strict=True)]
        outcomes = [self._operands(expression) for expression in self._expressions]
        whole = [each for each in outcomes if not isinstance(each, EmbeddbError)]
        weights, rows = zip(*chain.from_iterable(whole), strict=True) if whole else ((), ())
        summed = _summed(np.array(weights), np.array(rows), list(map(len, whole)), unit=unit)
        return [
            each if isinstance(each, EmbeddbError) else self._checked(expression, next(summed))
            for expression, each in zip(self._expressions, outcomes, strict=True)
        ]

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
            self._normalise(leaves, placed, 0.0, "is the zero vector, which has no direction")
        if self._arithmetic.center:
            self._center(leaves, placed)
            if self._arithmetic.normalise:
                why = "is the mean of its modality, and so has no direction once that is subtracted"
                self._normalise(leaves, placed, _ZERO, why)

    def _normalise(self, leaves: Sequence[Operand], vectors: Doubles, least: float, why: str) -> None:
        """Bring vectors (n, d) to unit length in place, but refuse those that have no more than the least."""
        lengths = _lengths(vectors)
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
        total = _weigh(scaled, np.stack([self._operand(operand) for _, operand in expression.terms]))
        length = float(np.linalg.norm(total))
        if length <= _ZERO:
            raise _no_direction(expression)
        return total / length

    def _checked(self, expression: Expression, summed: tuple[Query, bool]) -> Query | EmbeddbError:
        """The query, if it can be searched by; see `_summed`."""
        query, cancels = summed
        if self._arithmetic.combine is Combine.SUM:
            return _no_direction(expression) if cancels else query
        if (query.weights > 0).any():
            return query
        allowed = f"needs an operand of positive weight to be combined by {self._arithmetic.combine}"
        return InvalidArgumentError("expression", expression, allowed)


def _summed(
    weights: Doubles, rows: Doubles, counts: Sequence[int], *, unit: bool
) -> Iterator[tuple[Query, bool]]:
    """Weigh and sum the operands of each expression, one expression at least; all sums at once.

    Args:
        weights: (m,) of all operands, those of one expression behind those of the one before.
        rows: (m, d): the operands.
        counts: how many each expression has.
        unit: whether the operands have unit length.

    Yields:
        The query of each, and whether its operands cancel.
    """
    runs = _Runs(counts)
    # Relative to the largest, so that neither huge weights nor tiny ones leave float64's range.
    largest = runs.each(np.maximum, np.abs(weights))
    largest[largest == 0.0] = 1.0
    scaled = weights / runs.spread(largest)
    # Not a matrix product, whose rounding may depend on the order of two terms.
    sums = runs.each(np.add, scaled[:, np.newaxis] * rows)
    lengths = _lengths(sums)
    # Operands that are not normalised have the scale of the largest.
    least = _ZERO if unit else _ZERO * runs.each(np.maximum, _lengths(rows))
    cancel = lengths <= least
    lengths[cancel] = np.inf
    coefficients = scaled / runs.spread(lengths)
    vectors = (sums / lengths[:, np.newaxis]).astype(np.float32)
    for vector, cancels, start, stop in zip(vectors, cancel.tolist(), runs.starts, runs.stops, strict=True):
        yield Query(weights[start:stop], coefficients[start:stop], rows[start:stop], vector), cancels


class _Runs:
    """Numbers in runs of given lengths, one behind the other; most often each run is of one."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self.stops = list(accumulate(lengths))
        self.starts = [0, *self.stops[:-1]]
        self._of_one = self.stops[-1] == len(lengths)

    def each(self, function: np.ufunc, values: Doubles) -> Doubles:
        """What a function such as `np.add` makes of each run of values (n, ...)."""
        if self._of_one:
            return values
        reduced: Doubles = function.reduceat(values, self.starts)
        return reduced

    def spread(self, values: Doubles) -> Doubles:
        """The value of each run, as often as it is long."""
        return values if self._of_one else np.repeat(values, self._lengths)


def _modality(leaf: Operand, of_items: Mapping[str, Modality | None]) -> Modality | None:
    match leaf:
        case Image():
            return Modality.IMAGE
        case Text():
            return Modality.TEXT
        case Item(item_id):
            return of_items[item_id]
    return None


def _lengths(vectors: Doubles) -> Doubles:
    """Of each of (n, d)."""
    # Of a lone vector in half the time that einsum takes: what numpy does in Python is seldom in the caches.
    squares = (vectors[:, np.newaxis] @ vectors[:, :, np.newaxis]).ravel()
    lengths: Doubles = np.sqrt(squares)
    return lengths


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


def _no_direction(expression: Expression) -> InvalidArgumentError:
    return InvalidArgumentError("expression", expression, "sums to the zero vector, which has no direction")
