"""Plain data: what JSON can hold, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from embeddb.errors import InvalidArgumentError

__all__ = ["MAX_JSON_BYTES", "MAX_JSON_DEPTH", "json_text"]

MAX_JSON_BYTES = 1 << 20
"""Largest object, as JSON in UTF-8."""
MAX_JSON_DEPTH = 100
"""How deep it may be nested. Python limits its own stack, and who reads it later may be far down there."""

_PLAIN = frozenset((str, int, float, bool, type(None)))
_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def json_text(field: str, value: Mapping[str, Any]) -> str:
    """Return an object as JSON text.

    Raises:
        InvalidArgumentError: it is not an object of plain JSON values, has more than `MAX_JSON_BYTES`, or
            is nested deeper than `MAX_JSON_DEPTH`.
    """
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(field, value, "must be a JSON object")
    if not value:
        return "{}"
    try:
        # JSON's own encoder makes a string of any other key, and then one of two may be lost.
        _check_within(value, 1)
        text = _JSON.encode(dict(value))
        size = len(text.encode())  # JSON may escape half a surrogate pair, which no UTF-8 can hold.
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(field, value, f"must be plain JSON: {error}") from None
    if size > MAX_JSON_BYTES:
        allowed = f"must have at most {MAX_JSON_BYTES:,} bytes as JSON"
        raise InvalidArgumentError(field, f"{size:,} bytes", allowed)
    return text


def _check_within(value: object, depth: int) -> None:
    """Refuse keys that are no strings, and what is nested too deeply."""
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} deep")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            # Nearly all are none of these, and to ask that of what is only like a mapping takes long.
            if type(inner) not in _PLAIN:
                _check_within(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            if type(inner) not in _PLAIN:
                _check_within(inner, depth + 1)
