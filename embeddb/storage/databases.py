"""The named databases of a collection: which there are, and how rows and spaces stand in them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass

import lmdb

from embeddb.storage.blocks import Blocks, Graves
from embeddb.storage.sealed import unseal

__all__ = ["DATABASES", "Databases", "SpaceRecord", "open_blocks", "read_spaces", "row_key", "row_of"]

DATABASES = ("meta", "ids", "items", "payloads", "features", "graves", "spaces")

_ROW = struct.Struct(">Q")

Databases = Callable[[str], lmdb._Database]
"""Gives the handle of a named database."""


@dataclass(frozen=True)
class SpaceRecord:
    """What a space was filled with, and how its vectors are stored: "float32" or "float16"."""

    dimension: int
    fingerprint: str
    encoding: str


def read_spaces(transaction: lmdb.Transaction, database: Databases) -> dict[str, SpaceRecord]:
    """The spaces of a collection by model name."""
    with transaction.cursor(db=database("spaces")) as cursor:
        return {
            bytes(key).decode(): SpaceRecord(**json.loads(bytes(unseal(bytes(key), value))))
            for key, value in cursor
        }


def open_blocks(transaction: lmdb.Transaction, database: Databases, model: str, space: SpaceRecord) -> Blocks:
    """The vectors of a space."""
    graves = Graves(transaction, database("graves"))
    return Blocks(transaction, database("features"), graves, model, space.dimension, space.encoding)


def row_key(row: int) -> bytes:
    """A row as it is stored: big-endian, so that keys are in the order of rows."""
    return _ROW.pack(row)


def row_of(stored: bytes | memoryview) -> int:
    """The row that is stored."""
    (row,) = _ROW.unpack(stored)
    return int(row)
