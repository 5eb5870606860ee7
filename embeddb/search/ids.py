"""What a filter asks of ids, which are in no column: there are as many as items, and storage finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embeddb.errors import InvalidArgumentError
from embeddb.query import check_id
from embeddb.search.columns import kind_of
from embeddb.search.filter import (
    Among,
    Compare,
    Comparison,
    Condition,
    Contains,
    Exists,
    Field,
    Not,
    OneOf,
    Prefix,
    Value,
    replaced,
)

__all__ = ["Ids", "with_rows"]

ID = Field("id")
# Ends what begins with a prefix: no byte of UTF-8 is as large.
LAST = b"\xff"
# Ends a single id: none has a NUL.
NEXT = b"\0"


class Ids(Protocol):
    """Has the rows of ids."""

    def rows(self, ids: Sequence[str]) -> Sequence[int | None]:
        """The rows of ids, in order; None for one that is not there."""

    def rows_between(self, first: bytes, end: bytes) -> npt.NDArray[np.int64]:
        """The rows (n,) of the ids that are not less than `first` and less than `end`, as UTF-8."""


def with_rows(condition: Condition, ids: Ids, text: str) -> Condition:
    """The condition, with the rows that ids have now in the place of what it asks of ids.

    Args:
        text: the condition as it was written, for the errors.

    Raises:
        InvalidArgumentError: an id is compared with what none can be.
    """

    def rows_of(comparison: Comparison) -> Condition:
        if comparison.field != ID:
            return comparison
        match comparison:
            case Compare(_, "==", value):
                return _among(ids, [_checked(value, text)])
            case Compare(_, operator, value):
                return Among(ids.rows_between(*_range(operator, _checked(value, text).encode())))
            case OneOf(_, values):
                return _among(ids, [_checked(value, text) for value in values])
            case Prefix(_, start):
                first = _checked(start, text).encode()
                return Among(ids.rows_between(first, first + LAST))
            case Exists():
                return Not(Among(np.empty(0, np.int64)))
            case Contains():
                raise InvalidArgumentError("filter", text, f"{ID} is a text, and not a list")

    return replaced(condition, rows_of)


def _among(ids: Ids, wanted: Sequence[str]) -> Among:
    return Among(np.array([row for row in ids.rows(wanted) if row is not None], np.int64))


def _range(operator: str, value: bytes) -> tuple[bytes, bytes]:
    """From which id on the comparison holds, and before which: as UTF-8, texts compare by code points."""
    beyond = value + NEXT
    return {
        "<": (b"", value),
        "<=": (b"", beyond),
        ">": (beyond, LAST),
        ">=": (value, LAST),
    }[operator]


def _checked(value: Value, text: str) -> str:
    """The value, if an id can be that."""
    if not isinstance(value, str):
        raise InvalidArgumentError("filter", text, f"{ID} is a text, and not a {kind_of(value)}")
    try:
        return check_id(value)
    except InvalidArgumentError as error:
        raise InvalidArgumentError("filter", text, f"no id is as {value[:60]!r}: {error}") from None
