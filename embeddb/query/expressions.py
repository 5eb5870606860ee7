"""Expressions: weighted sums of images, texts, items and vectors.

    Image("cat.jpg") - Text("a cat") + 0.5 * Item("sku-42")

means the same in process and through a server: every operand is encoded or looked up in one model's space,
brought to unit length, weighted and summed, and the sum is brought to unit length again (3CosAdd: Levy &
Goldberg, "Linguistic Regularities in Sparse and Explicit Word Representations", CoNLL 2014).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embeddb.arguments import check_fields
from embeddb.errors import InvalidArgumentError

__all__ = [
    "MAX_DEPTH",
    "MAX_OPERANDS",
    "Between",
    "Expression",
    "Operand",
    "Sum",
    "Unit",
    "check_size",
    "leaves",
    "short",
    "unit",
]

MAX_OPERANDS = 1_000
"""Most operands of an expression, those of nested ones among them."""
MAX_DEPTH = 32
"""How deep expressions may be nested."""


class Expression:
    """Anything that a space can turn into a vector. Supports `+`, `-`, and `*` and `/` by a number."""

    @property
    def terms(self) -> tuple[tuple[float, Operand], ...]:
        """The weighted operands whose sum this is."""
        raise TypeError(f"{type(self).__name__} is not an expression")

    def __add__(self, other: Expression) -> Sum:
        if not isinstance(other, Expression):
            return NotImplemented
        return Sum(self.terms + other.terms)

    def __sub__(self, other: Expression) -> Sum:
        if not isinstance(other, Expression):
            return NotImplemented
        return self + (-other)

    def __neg__(self) -> Sum:
        return self * -1.0

    def __mul__(self, weight: float) -> Sum:
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.integer | np.floating):
            return NotImplemented
        return Sum(tuple((float(weight) * own, operand) for own, operand in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Sum:
        if not isinstance(divisor, int | float | np.integer | np.floating):
            return NotImplemented
        if divisor == 0:
            raise InvalidArgumentError("expression.weight", f"division by {divisor}", "must be finite")
        return self * (1.0 / float(divisor))


class Operand(Expression):
    """One thing to encode or look up; the leaves of an expression."""

    @property
    def terms(self) -> tuple[tuple[float, Operand], ...]:
        """This operand alone, with weight 1."""
        return ((1.0, self),)


@dataclass(frozen=True)
class Sum(Expression):
    """A weighted sum of operands. Usually written with arithmetic, not constructed.

    Raises:
        InvalidArgumentError: there is no operand, or a weight is not finite.
    """

    operands: tuple[tuple[float, Operand], ...]

    def __post_init__(self) -> None:
        if not self.operands:
            raise InvalidArgumentError("expression", "no operand", "at least one is needed")
        for weight, _ in self.operands:
            if not math.isfinite(weight):
                raise InvalidArgumentError("expression.weight", weight, "must be finite")

    @property
    def terms(self) -> tuple[tuple[float, Operand], ...]:
        """The weighted operands."""
        return self.operands

    def __repr__(self) -> str:
        parts: list[str] = []
        for weight, operand in self.operands:
            negative = math.copysign(1.0, weight) < 0
            sign = (" - " if negative else " + ") if parts else ("-" if negative else "")
            size = abs(weight)
            parts.append(sign + ("" if size == 1.0 else f"{short(size)} * ") + repr(operand))
        return "".join(parts)


@dataclass(frozen=True, repr=False)
class Unit(Operand):
    """A nested expression, brought to unit length before the outer sum weighs it. Written `unit(a + b)`."""

    expression: Expression

    def __repr__(self) -> str:
        return f"unit({self.expression!r})"


def unit(expression: Expression) -> Unit:
    """Nest an expression: `unit(a + b) - c` gives `a + b` together the same say as `c`.

    Plain parentheses do not: arithmetic is linear, so `(a + b) - c` is `a + b - c`.
    """
    if not isinstance(expression, Expression):
        raise InvalidArgumentError("expression", expression, "must be an expression")
    return Unit(expression)


@dataclass(frozen=True, repr=False)
class Between(Operand):
    """The point on the arc from one expression's unit vector to another's. Written `between(a, b, t)`.

    Spherical linear interpolation: Shoemake, "Animating Rotation with Quaternion Curves" (SIGGRAPH 1985).

    Raises:
        InvalidArgumentError: t is not from 0 to 1.
    """

    start: Expression
    end: Expression
    t: float

    def __post_init__(self) -> None:
        check_fields(self, "between.")
        if not 0.0 <= self.t <= 1.0:
            raise InvalidArgumentError("between.t", self.t, "must be from 0 (the start) to 1 (the end)")

    def __repr__(self) -> str:
        return f"between({self.start!r}, {self.end!r}, {short(self.t)})"


def leaves(expression: Expression) -> Iterator[Operand]:
    """The images, texts, items and vectors of an expression, in order, those of nested ones among them."""
    for _, operand in expression.terms:
        nested = _nested(operand)
        if not nested:
            yield operand
        for each in nested:
            yield from leaves(each)


def check_size(expression: Expression) -> None:
    """Refuse an expression of more than `MAX_OPERANDS`, or nested deeper than `MAX_DEPTH`.

    Raises:
        InvalidArgumentError: it is one of these.
    """
    level, operands, depth = [expression], 0, 0
    while level:
        inside = [operand for each in level for _, operand in each.terms]
        operands += len(inside)
        depth += 1
        if operands > MAX_OPERANDS:
            allowed = f"must have at most {MAX_OPERANDS:,}"
            raise InvalidArgumentError("expression", f"{operands:,} operands", allowed)
        if depth > MAX_DEPTH:
            allowed = f"must be nested at most {MAX_DEPTH} deep"
            raise InvalidArgumentError("expression", "one nested deeper", allowed)
        level = [nested for operand in inside for nested in _nested(operand)]


def _nested(operand: Operand) -> tuple[Expression, ...]:
    """The expressions that an operand is made of; none of a leaf."""
    match operand:
        case Unit(nested):
            return (nested,)
        case Between(start, end):
            return (start, end)
    return ()


def short(value: float) -> str:
    """A number as an expression shows it."""
    return f"{value:.6g}"
