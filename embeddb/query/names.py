"""What ids and names may be, and how a device is written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from embeddb.arguments import check, is_utf8
from embeddb.errors import InvalidArgumentError

__all__ = [
    "DEVICE",
    "MAX_ID_BYTES",
    "MAX_NAME_LENGTH",
    "check_device",
    "check_id",
    "check_name",
    "check_names",
]

DEVICE = r"auto|cpu|cuda(:\d{1,3})?"
"""How a device is written."""
MAX_ID_BYTES = 480
"""Longest item id, in bytes of UTF-8 (LMDB keys end at 511)."""
MAX_NAME_LENGTH = 64
"""Longest name of a model or a collection, in characters."""

_AN_ID = f"must be a string of 1 to {MAX_ID_BYTES} bytes in UTF-8 without NUL"


def check_device(field_name: str, device: str) -> str:
    """Return the name of a device if it is written like one; the machine need not have it.

    Raises:
        InvalidArgumentError: it is not.
    """
    if not isinstance(device, str) or not re.fullmatch(DEVICE, device):
        raise InvalidArgumentError(field_name, device, "must be auto, cpu, cuda or cuda:N")
    return device


def check_id(item_id: str) -> str:
    """Return the id if it is one: 1 to `MAX_ID_BYTES` bytes of UTF-8, without a NUL.

    Raises:
        InvalidArgumentError: it is not.
    """
    if not isinstance(item_id, str) or "\0" in item_id or not is_utf8(item_id):
        raise InvalidArgumentError("item.id", item_id, _AN_ID)
    size = len(item_id.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidArgumentError("item.id", item_id, f"{_AN_ID}, and this has {size}")
    return item_id


def check_name(field_name: str, name: str) -> str:
    """Return the name of a model or collection if it is one: letters, digits, '.', '_', '-', 1 to 64 of them.

    Raises:
        InvalidArgumentError: it is not.
    """
    well_formed = isinstance(name, str) and 1 <= len(name) <= MAX_NAME_LENGTH and name[0] not in ".-"
    if not well_formed or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        allowed = "must be 1 to 64 of A-Z a-z 0-9 . _ - and not start with . or -"
        raise InvalidArgumentError(field_name, name, allowed)
    return name


def check_names(field_name: str, names: Sequence[str]) -> list[str]:
    """Return the names of models or collections, if each is one and occurs once.

    Raises:
        InvalidArgumentError: one is not, or occurs twice.
    """
    listed = [check_name(field_name, name) for name in check(field_name, names, Sequence[str])]
    twice = [name for name in dict.fromkeys(listed) if listed.count(name) > 1]
    if twice:
        raise InvalidArgumentError(field_name, twice[0], "must be there once")
    return listed
