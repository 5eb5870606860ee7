"""Metadata and the path of a field -> its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Label", "field_value"]

Label = str | float | bool


def field_value(metadata: Mapping[str, Any], path: str) -> Label | None:
    """What metadata holds at a path, such as "camera" or "product.id"; None where it holds nothing there.

    A key that itself contains the dots goes first. Lists and objects are no labels, and give None.
    """
    if path in metadata:
        value = metadata[path]
        return value if isinstance(value, str | int | float | bool) else None
    first, dot, rest = path.partition(".")
    inner = metadata.get(first)
    return field_value(inner, rest) if dot and isinstance(inner, Mapping) else None
