"""Plain data: what JSON can hold, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from embeddb.errors import InvalidArgumentError

__all__ = ["json_text"]

_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def json_text(field: str, value: Mapping[str, Any]) -> str:
    """Return an object as JSON text.

    Raises:
        InvalidArgumentError: it is not an object of plain JSON values.
    """
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(field, value, "must be a JSON object")
    try:
        # JSON's own encoder makes a string of any other key, and then one of two may be lost.
        _check_keys(value)
        text = _JSON.encode(dict(value))
        text.encode()  # JSON may escape half a surrogate pair, which no UTF-8 can hold.
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(field, value, f"must be plain JSON: {error}") from None
    return text


def _check_keys(value: object) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)
