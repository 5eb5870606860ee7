"""The filter language: a condition on an item's metadata and predictions, as text.

    camera != 3 and price < 20 and "outdoor" in tags and not exists(sold)

    condition   comparison, condition and condition, condition or condition, not condition, (condition)
    comparison  field == value  != < <= > >=    also value < field <= value
                field in [value, ...]           field not in [value, ...]
                value in field                  value not in field: for a field that holds lists
                field == null, exists(field), prefix(field, "text"), and a field of true and false alone
    field       price, size.width, field("any key"): of the metadata
                label("model"), score("model"), labels("model"): the likeliest class, its probability, and
                all stored classes; modality(), which is "image" or "text"; id(), the item's own
    value       20, -1.5, "text", 'text', true, false

It is a part of Python's expressions, and Python's own parser reads it; nothing is ever executed. An item that
lacks the field, or has null or a value of another kind there, satisfies no comparison; `!=`, `not in` and
`not` are the opposites of what they negate, and so hold for it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embeddb.errors import InvalidArgumentError

__all__ = [
    "All",
    "Among",
    "AnyOf",
    "Compare",
    "Condition",
    "Contains",
    "Exists",
    "Field",
    "Not",
    "OneOf",
    "Prefix",
    "Value",
    "comparisons",
    "parse",
    "replaced",
]

MAX_LENGTH = 10_000
MAX_DEPTH = 50

Value = bool | float | str


@dataclass(frozen=True)
class Field:
    """What of an item a condition is about.

    Attributes:
        source: "metadata", "label", "score", "labels", "modality" or "id".
        name: a key of the metadata, with dots where objects are nested; or a model; or nothing.
    """

    source: str
    name: str = ""

    def __str__(self) -> str:
        if self.source == "metadata":
            return self.name
        return f'{self.source}("{self.name}")' if self.name else f"{self.source}()"

    @property
    def model(self) -> str | None:
        """The model that predicts it; None of what no model does."""
        return self.name if self.source in _OF_A_MODEL else None


@dataclass(frozen=True)
class Compare:
    """The field is `operator` the value; the operator is one of == < <= > >=."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True)
class OneOf:
    """The field is one of the values."""

    field: Field
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Contains:
    """The field is a list that has the value."""

    field: Field
    value: Value


@dataclass(frozen=True)
class Exists:
    """The field is there, and is not null."""

    field: Field


@dataclass(frozen=True)
class Prefix:
    """The field is a text that begins so."""

    field: Field
    text: str


@dataclass(frozen=True, eq=False)
class Among:
    """The item's row is one of these (n,) int64: what a comparison of ids comes to."""

    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Condition


@dataclass(frozen=True)
class All:
    """Each part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """One part at least holds."""

    parts: tuple[Condition, ...]


Comparison = Compare | OneOf | Contains | Exists | Prefix
Condition = Comparison | Among | Not | All | AnyOf

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_FLIPPED = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CONSTANTS: dict[str, Value | None] = {"true": True, "false": False, "null": None}
_OF_A_MODEL = ("label", "score", "labels")
_SOURCES = {**dict.fromkeys(_OF_A_MODEL, 1), "modality": 0, "id": 0}


def parse(text: str) -> Condition:
    """Read a filter.

    Raises:
        InvalidArgumentError: it is not one; the message says what is wrong, and where.
    """
    if len(text) > MAX_LENGTH:
        allowed = f"must have at most {MAX_LENGTH:,} characters"
        raise InvalidArgumentError("filter", f"{len(text):,} characters", allowed)
    # Python breaks expressions at line ends; here they are but spaces.
    line = " ".join(text.splitlines()).strip()
    try:
        tree = ast.parse(line, mode="eval")
    except SyntaxError as error:
        where = f" at character {error.offset}" if error.offset else " to its end"
        raise InvalidArgumentError("filter", text, f"cannot be read{where}: {error.msg}") from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise InvalidArgumentError("filter", text, f"cannot be read: {error}") from None
    return _Reader(text, line).condition(tree.body, 0)


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """What a condition asks of single fields, in the order in which it is written."""
    match condition:
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from comparisons(part)
        case Not(part):
            yield from comparisons(part)
        case Among():
            return
        case _:
            yield condition


def replaced(condition: Condition, by: Callable[[Comparison], Condition]) -> Condition:
    """The condition with each of its comparisons replaced by what `by` gives for it."""
    match condition:
        case All(parts):
            return All(tuple(replaced(part, by) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(replaced(part, by) for part in parts))
        case Not(part):
            return Not(replaced(part, by))
        case Among():
            return condition
        case _:
            return by(condition)


class _Reader:
    """Turns Python's syntax tree into conditions, and refuses what is not part of the language."""

    def __init__(self, text: str, line: str) -> None:
        self._text = text
        self._line = line

    def condition(self, node: ast.expr, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise self._error(node, f"is nested more than {MAX_DEPTH} deep")
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return All(tuple(self.condition(each, depth + 1) for each in values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return AnyOf(tuple(self.condition(each, depth + 1) for each in values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.condition(operand, depth + 1))
            case ast.Compare(left=left, ops=operators, comparators=rights):
                pairs = zip(operators, [left, *rights[:-1]], rights, strict=True)
                parts = tuple(self._comparison(operator, a, b) for operator, a, b in pairs)
                return parts[0] if len(parts) == 1 else All(parts)
            case ast.Call(func=ast.Name("exists"), args=[argument], keywords=[]):
                return Exists(self._field(argument))
            case ast.Call(func=ast.Name("prefix"), args=[argument, ast.Constant(str() as text)], keywords=[]):
                return Prefix(self._field(argument), text)
            case ast.Name() | ast.Attribute() | ast.Call() if not self._is_constant(node):
                return Compare(self._field(node), "==", True)
        raise self._error(node, "is no condition; compare a field with a value")

    def _comparison(self, operator: ast.cmpop, left: ast.expr, right: ast.expr) -> Condition:
        match operator:
            case ast.NotEq():
                return Not(self._comparison(ast.Eq(), left, right))
            case ast.NotIn():
                return Not(self._comparison(ast.In(), left, right))
            case ast.In():
                return self._membership(left, right)
        sign = _OPERATORS.get(type(operator))
        if sign is None:
            raise self._error(left, "is compared by an operator that there is not; use == != < <= > >= in")
        if self._is_constant(left):
            left, right, sign = right, left, _FLIPPED[sign]
        field, value = self._field(left), self._value(right)
        if value is None:
            if sign != "==":
                raise self._error(right, "has no order; write field == null or exists(field)")
            return Not(Exists(field))
        if isinstance(value, bool) and sign != "==":
            raise self._error(right, "has no order; true and false can only be equal")
        return Compare(field, sign, value)

    def _membership(self, left: ast.expr, right: ast.expr) -> Condition:
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            return OneOf(self._field(left), tuple(self._member(each) for each in right.elts))
        return Contains(self._field(right), self._member(left))

    def _field(self, node: ast.expr) -> Field:
        match node:
            case ast.Name(name) if name not in _CONSTANTS:
                return Field("metadata", name)
            case ast.Attribute(value=value, attr=name):
                outer = self._field(value)
                if outer.source == "metadata":
                    return Field("metadata", f"{outer.name}.{name}")
            case ast.Call(func=ast.Name("field"), args=[ast.Constant(str() as name)], keywords=[]):
                return Field("metadata", name)
            case ast.Call(func=ast.Name(source), args=arguments, keywords=[]) if source in _SOURCES:
                names = [each.value for each in arguments if isinstance(each, ast.Constant)]
                if len(names) == len(arguments) == _SOURCES[source] and all(
                    isinstance(n, str) for n in names
                ):
                    return Field(source, "".join(map(str, names)))
        raise self._error(
            node, 'is no field; write a key of the metadata, field("any key") or label("model")'
        )

    def _value(self, node: ast.expr) -> Value | None:
        match node:
            case ast.Constant(bool() | str() | None as value):
                return value
            case ast.Constant(int() | float() as value):
                return self._number(node, value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(int() | float() as value)):
                return -self._number(node, value)
            case ast.Name(name) if name in _CONSTANTS:
                return _CONSTANTS[name]
        raise self._error(node, "is no value; write a number, a text in quotes, true, false or null")

    def _member(self, node: ast.expr) -> Value:
        value = self._value(node)
        if value is None:
            raise self._error(node, "is in no list; write field == null")
        return value

    def _number(self, node: ast.expr, value: float) -> float:
        try:
            return float(value)
        except OverflowError:
            raise self._error(node, "is larger than any number that can be compared") from None

    def _is_constant(self, node: ast.expr) -> bool:
        match node:
            case ast.Constant() | ast.UnaryOp():
                return True
            case ast.Name(name):
                return name in _CONSTANTS
        return False

    def _error(self, node: ast.expr, reason: str) -> InvalidArgumentError:
        # The text, for to print a tree again recurses as deep as the tree goes.
        part = ast.get_source_segment(self._line, node) or self._line
        return InvalidArgumentError("filter", self._text, f"{part[:60]!r} {reason}")
