"""Any condition over one field, and what it says of a value."""

from __future__ import annotations

import operator
from typing import Any

from hypothesis import strategies as st

from embeddb.search.filter import (
    All,
    AnyOf,
    Compare,
    Comparison,
    Condition,
    Contains,
    Exists,
    Not,
    OneOf,
    Prefix,
)

OPERATORS = {"==": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def conditions(comparisons: st.SearchStrategy[Comparison], max_leaves: int) -> st.SearchStrategy[Condition]:
    """Comparisons, and what `not`, `and` and `or` make of them."""
    return st.recursive(
        comparisons,
        lambda inner: (
            st.builds(Not, inner)
            | st.builds(All, st.lists(inner, min_size=1, max_size=3).map(tuple))
            | st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple))
        ),
        max_leaves=max_leaves,
    )


def alike(a: object, b: object) -> bool:
    return type(a) is type(b)


def holds(condition: Condition, value: Any) -> bool:
    """The language's definition, where all comparisons are of one field, which has this value."""
    match condition:
        case Not(part):
            return not holds(part, value)
        case All(parts):
            return all(holds(part, value) for part in parts)
        case AnyOf(parts):
            return any(holds(part, value) for part in parts)
        case Exists():
            return value is not None
        case Compare(_, sign, other):
            return alike(value, other) and OPERATORS[sign](value, other)
        case OneOf(_, values):
            return any(alike(value, each) and value == each for each in values)
        case Contains(_, member):
            return isinstance(value, list) and any(alike(each, member) and each == member for each in value)
        case Prefix(_, start):
            return isinstance(value, str) and value.startswith(start)
    raise AssertionError(condition)
