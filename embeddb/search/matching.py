"""Which items satisfy a condition."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embeddb.errors import InvalidArgumentError
from embeddb.search.column import Lists, Numbers, Texts
from embeddb.search.columns import Columns, kind_of
from embeddb.search.filter import (
    All,
    Among,
    AnyOf,
    Compare,
    Condition,
    Contains,
    Exists,
    Field,
    Not,
    OneOf,
    Prefix,
    Value,
    comparisons,
)

__all__ = ["matching"]

Mask = npt.NDArray[np.bool_]

_IN_WORDS = {
    "number": "numbers",
    "text": "texts",
    "flag": "true or false",
    "numbers": "lists of numbers",
    "texts": "lists of texts",
    "flags": "lists of true and false",
}


def matching(condition: Condition, columns: Columns, text: str) -> npt.NDArray[np.int64]:
    """The rows of the items that satisfy a condition, ascending.

    Args:
        text: the condition as it was written, for the errors.

    Raises:
        InvalidArgumentError: a field is compared with a kind of value that it never has.
    """
    for about, kind in _needs(condition):
        present = columns.of(about)
        if present and kind not in present:
            has = " and ".join(_IN_WORDS[each] for each in present)
            raise InvalidArgumentError("filter", text, f"{about} holds {has}, not {_IN_WORDS[kind]}")
    return columns.rows[_mask(condition, columns)]


def _needs(condition: Condition) -> Iterator[tuple[Field, str]]:
    """Which kind of value each comparison needs of its field."""
    for comparison in comparisons(condition):
        match comparison:
            case Compare(about, _, value):
                yield about, kind_of(value)
            case OneOf(about, values):
                for value in values:
                    yield about, kind_of(value)
            case Contains(about, value):
                yield about, kind_of(value) + "s"
            case Prefix(about, _):
                yield about, "text"


def _mask(condition: Condition, columns: Columns) -> Mask:
    """(n,) bool: which items satisfy it."""
    n = len(columns)
    match condition:
        case All(parts):
            return _combined(np.logical_and, [_mask(part, columns) for part in parts])
        case AnyOf(parts):
            return _combined(np.logical_or, [_mask(part, columns) for part in parts])
        case Not(part):
            return ~_mask(part, columns)
        case Among(rows):
            return np.isin(columns.rows, rows)
        case Exists(about):
            present = [column.present(n) for column in columns.of(about).values()]
            return _combined(np.logical_or, [np.zeros(n, np.bool_), *present])
        case Compare(about, operator, value):
            match columns.of(about).get(kind_of(value)):
                case Numbers() | Texts() as column:
                    return column.compare(operator, value, n)  # type: ignore[arg-type] # of that kind
        case OneOf(about, values):
            return _combined(np.logical_or, [np.zeros(n, np.bool_), *_one_of(about, values, columns)])
        case Contains(about, value):
            match columns.of(about).get(kind_of(value) + "s"):
                case Lists() as lists:
                    return lists.contains(value, n)
        case Prefix(about, text):
            match columns.of(about).get("text"):
                case Texts() as texts:
                    return texts.prefix(text, n)
    return np.zeros(n, np.bool_)


def _one_of(about: Field, values: tuple[Value, ...], columns: Columns) -> Iterator[Mask]:
    for kind in {kind_of(value) for value in values}:
        column = columns.of(about).get(kind)
        if isinstance(column, Numbers | Texts):
            alike: list[Value] = [value for value in values if kind_of(value) == kind]
            yield column.one_of(alike, len(columns))  # type: ignore[arg-type] # of that kind


def _combined(operation: np.ufunc, masks: list[Mask]) -> Mask:
    combined: Mask = operation.reduce(masks)
    return combined
