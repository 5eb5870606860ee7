"""Expressions that have a name: each is ordinary arithmetic, and prints as that."""

from __future__ import annotations

from collections.abc import Sequence

from embeddb.arguments import checked
from embeddb.errors import InvalidArgumentError
from embeddb.query import Between, Expression, Operand, Sum, as_expression, unit

__all__ = ["analogy", "away_from", "between", "direction", "mean", "recommend"]


@checked
def mean(expressions: Sequence[object]) -> Expression:
    """The prototype of many: the mean of their unit vectors.

    Snell et al., "Prototypical Networks for Few-shot Learning" (NeurIPS 2017).

    Raises:
        InvalidArgumentError: there are none.
    """
    if not expressions:
        raise InvalidArgumentError("mean", "no expression", "at least one is needed")
    return Sum(tuple((1.0 / len(expressions), _nested(each)) for each in expressions))


def analogy(a: object, b: object, c: object) -> Expression:
    """What is to c as b is to a: c - a + b. With `Combine.PRODUCT` it is 3CosMul (see `Combine`)."""
    return _nested(c) - _nested(a) + _nested(b)


def between(start: object, end: object, t: float = 0.5) -> Expression:
    """The point a share t of the way from one expression to another, along the arc (slerp).

    Raises:
        InvalidArgumentError: t is not from 0 to 1.
    """
    return Between(as_expression(start), as_expression(end), t)


@checked
def direction(positives: Sequence[object], negatives: Sequence[object]) -> Expression:
    """What sets one group apart from another, as one operand: `face + 0.5 * direction(smiling, neutral)`.

    Larsen et al., "Autoencoding beyond pixels using a learned similarity metric" (ICML 2016).

    Raises:
        InvalidArgumentError: one of the groups is empty.
    """
    return unit(mean(positives) - mean(negatives))


@checked
def away_from(expression: object, *others: object, strength: float = 0.5) -> Expression:
    """An expression, moved away from the mean of others: x - strength * unit(mean of them).

    Raises:
        InvalidArgumentError: there are no others, or the strength is not a positive number.
    """
    if not strength > 0:
        raise InvalidArgumentError("away_from.strength", strength, "must be a positive number")
    return _nested(expression) - strength * unit(mean(others))


@checked
def recommend(positives: Sequence[object], negatives: Sequence[object] = ()) -> Expression:
    """What is like the positives and unlike the negatives: the mean of the one less the mean of the other.

    With `Combine.BEST`, the nearest example decides instead of the mean.

    Raises:
        InvalidArgumentError: there are no positives.
    """
    return mean(positives) - mean(negatives) if negatives else mean(positives)


def _nested(value: object) -> Operand:
    expression = as_expression(value)
    return expression if isinstance(expression, Operand) else unit(expression)
