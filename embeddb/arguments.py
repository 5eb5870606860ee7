"""What callers hand over, held against the annotations, since Python itself takes anything.

`check_fields` does it for the dataclasses of the vocabulary, and `checked` for the calls of the engine and of
the clients. `check_range` holds a number between two others.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from functools import cache, wraps
from inspect import Parameter, iscoroutinefunction, signature
from typing import Any, ParamSpec, TypeVar

import numpy as np

from embeddb.errors import InvalidArgumentError

__all__ = ["check", "check_fields", "check_range", "checked", "is_utf8", "listed"]

P = ParamSpec("P")
R = TypeVar("R")

_ANYTHING: tuple[Any, frozenset[type]] = (Any, frozenset())
_UNIONS = (types.UnionType, typing.Union)

_SCALARS: Mapping[object, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string"),
    int: ((int, np.integer), "a whole number"),
    float: ((int, float, np.integer, np.floating), "a number"),
    bool: ((bool, np.bool_), "true or false"),
}
_ABSTRACT: Mapping[object, str] = {Iterable: "an iterable", Mapping: "a mapping"}


def check(field: str, value: Any, kind: Any) -> Any:
    """Return the value if it is of a kind: a sequence as a tuple, numpy's numbers as Python's.

    Args:
        field: its name, for the error.
        kind: an annotation; of an enumeration, whose members are made of their names, any string is.

    Raises:
        InvalidArgumentError: it is not, or an element of a sequence is not.
    """
    if type(value) is kind:
        return value
    kinds = typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(each for each in kinds if each is not type(None))
    if len(kinds) == 1 and typing.get_origin(kinds[0]) is Sequence:
        (element,) = typing.get_args(kinds[0])
        if element is Any:
            return tuple(listed(field, value))
        return tuple(check(f"{field}[{n}]", each, element) for n, each in enumerate(listed(field, value)))
    if not any(_fits(value, each) for each in kinds):
        raise InvalidArgumentError(field, value, f"must be {' or '.join(map(_shown, kinds))}")
    return value.item() if isinstance(value, np.generic) else value


def check_fields(instance: Any, prefix: str = "") -> None:
    """Check all that a frozen dataclass was made of; its sequences become tuples.

    Args:
        prefix: what fields' names begin with in errors, such as "fusion.".

    Raises:
        InvalidArgumentError: a field is of another kind than its annotation says, or a string that cannot be
            sent.
    """
    made: Any = type(instance)
    values = vars(instance)
    for name, kind, exact in _made_of(made):
        value = values[name]
        if type(value) not in exact:
            object.__setattr__(instance, name, check(prefix + name, value, kind))
        elif type(value) is str and not value.isascii():
            _check_text(prefix + name, value)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function refuse arguments of other kinds than its annotations say.

    Raises:
        InvalidArgumentError: by the function: names the argument, which may also be a string that cannot be
            sent.
    """
    parameters = signature(function).parameters.values()
    names = [each.name for each in parameters if each.kind is Parameter.POSITIONAL_OR_KEYWORD]

    def hold(args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """Hold the named ones in their places; returns the others."""
        expected = _expected(function)
        positional = list(args)
        # Those beyond the names, if the function takes any, have none to be refused by.
        for place, (name, value) in enumerate(zip(names, args, strict=False)):
            kind, exact = expected.get(name, _ANYTHING)
            if kind is not Any and type(value) not in exact:
                positional[place] = check(name, value, kind)
            elif exact and type(value) is str and not value.isascii():
                _check_text(name, value)
        for name, value in named.items():
            kind, exact = expected.get(name, _ANYTHING)
            if kind is not Any and type(value) not in exact:
                named[name] = check(name, value, kind)
            elif exact and type(value) is str and not value.isascii():
                _check_text(name, value)
        return positional

    if iscoroutinefunction(function):
        # It stays what it is to who asks, and raises where it is awaited.
        @wraps(function)
        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            positional = hold(args, kwargs)
            return await function(*positional, **kwargs)

        return typing.cast("Callable[P, R]", awaited)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        positional = hold(args, kwargs)
        return function(*positional, **kwargs)

    return wrapper


def check_range(field: str, value: float, least: float, most: float) -> None:
    """Let a number pass that is from one number to another, both of them included.

    Raises:
        InvalidArgumentError: it is not.
    """
    if not least <= value <= most:
        raise InvalidArgumentError(field, value, f"must be from {least:,} to {most:,}")


def is_utf8(text: str) -> bool:
    """Whether a string can be sent: one with half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(field: str, value: object) -> Sequence[Any]:
    """Return the value if it has elements and an order: a string is a sequence of letters to Python alone.

    Raises:
        InvalidArgumentError: it has not.
    """
    is_array = isinstance(value, np.ndarray) and value.ndim > 0
    if not is_array and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
        raise InvalidArgumentError(field, value, "must be a list or another sequence")
    return typing.cast("Sequence[Any]", value)


def _check_text(field: str, text: str) -> None:
    """Let a string pass that can be sent.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if not is_utf8(text):
        raise InvalidArgumentError(field, text, "must be UTF-8, and has half a surrogate pair")


@cache
def _made_of(made: Any) -> tuple[tuple[str, Any, frozenset[type]], ...]:
    expected = _expected(made)
    return tuple((each.name, *expected[each.name]) for each in fields(made) if each.init)


@cache
def _expected(of: Any) -> Mapping[str, tuple[Any, frozenset[type]]]:
    """The annotations, each with the types whose objects need no second look: each query makes a search."""
    return {name: (kind, _exact(kind)) for name, kind in typing.get_type_hints(of).items()}


def _exact(kind: Any) -> frozenset[type]:
    if typing.get_origin(kind) in _UNIONS:
        return frozenset[type]().union(*map(_exact, typing.get_args(kind)))
    if kind in _SCALARS:
        return frozenset(each for each in _SCALARS[kind][0] if not issubclass(each, np.generic))
    if kind == Sequence[Any]:
        return frozenset({tuple})
    if isinstance(kind, type) and typing.get_origin(kind) is None:
        return frozenset({kind})
    return frozenset()


def _fits(value: object, kind: Any) -> bool:
    kind = typing.get_origin(kind) or kind
    if kind in _SCALARS:
        # To Python, True is the number 1.
        return isinstance(value, _SCALARS[kind][0]) and (kind is bool or not isinstance(value, bool))
    if kind is Any or not isinstance(kind, type):
        return True
    return isinstance(value, str if issubclass(kind, StrEnum) else kind)


def _shown(kind: Any) -> str:
    kind = typing.get_origin(kind) or kind
    if kind in _SCALARS:
        return _SCALARS[kind][1]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    return _ABSTRACT.get(kind) or f"a {kind.__name__}"
