"""What a write does to a collection's databases, inside one transaction."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import lmdb
import numpy as np

from embeddb.errors import FailedPreconditionError
from embeddb.storage.blocks import Blocks, Floats, Graves
from embeddb.storage.records import Committed, Delete, Put, Record, Written

__all__ = ["SpaceRecord", "apply", "open_blocks", "row_key", "row_of"]


@dataclass(frozen=True)
class SpaceRecord:
    """What a space was filled with, and how its vectors are stored: "float32" or "float16"."""

    dimension: int
    fingerprint: str
    encoding: str = "float32"


@dataclass
class _Changes:
    """What the operations so far have come to."""

    next_row: int
    added: dict[str, dict[int, Floats]] = field(default_factory=lambda: defaultdict(dict))
    dead: list[int] = field(default_factory=list)


def apply(
    transaction: lmdb.Transaction,
    database: Callable[[str], lmdb._Database],
    spaces: Mapping[str, SpaceRecord],
    operations: Sequence[Put | Delete],
) -> tuple[list[Written], Committed]:
    """Do operations in order.

    Args:
        database: the handle of a named database.
        spaces: the collection's spaces by model name.

    Raises:
        FailedPreconditionError: features do not fit their space, or it is not there.
    """
    meta = database("meta")
    first_row = row_of(transaction.get(b"next_row", db=meta, default=row_key(0)))
    sequence = row_of(transaction.get(b"sequence", db=meta, default=row_key(0))) + 1
    changes = _Changes(first_row)
    written = [_operate(transaction, database, spaces, changes, each) for each in operations]
    _store_features(transaction, database, spaces, changes, first_row)
    transaction.put(b"next_row", row_key(changes.next_row), db=meta)
    transaction.put(b"sequence", row_key(sequence), db=meta)
    added = {
        model: (np.array(list(vectors), np.int64), np.stack(list(vectors.values())))
        for model, vectors in changes.added.items()
        if vectors
    }
    return written, Committed(sequence, added, np.array(changes.dead, np.int64))


def open_blocks(
    transaction: lmdb.Transaction,
    database: Callable[[str], lmdb._Database],
    model: str,
    space: SpaceRecord,
) -> Blocks:
    """The vectors of a space."""
    graves = Graves(transaction, database("graves"))
    return Blocks(transaction, database("features"), graves, model, space.dimension, space.encoding)


def row_key(row: int) -> bytes:
    """A row as it is stored: big-endian, so that keys are in the order of rows."""
    return struct.pack(">Q", row)


def row_of(stored: bytes | memoryview) -> int:
    """The row that is stored."""
    (row,) = struct.unpack(">Q", stored)
    return int(row)


def _operate(
    transaction: lmdb.Transaction,
    database: Callable[[str], lmdb._Database],
    spaces: Mapping[str, SpaceRecord],
    changes: _Changes,
    operation: Put | Delete,
) -> Written:
    ids, items, payloads = database("ids"), database("items"), database("payloads")
    item_id = operation.id.encode()
    stored = transaction.get(item_id, db=ids)
    replaced = None if stored is None else row_of(stored)
    if replaced is not None:
        changes.dead.append(replaced)
        transaction.delete(row_key(replaced), db=items)
        transaction.delete(row_key(replaced), db=payloads)
        for vectors in changes.added.values():
            vectors.pop(replaced, None)
    if isinstance(operation, Delete):
        transaction.delete(item_id, db=ids)
        return Written(None, replaced)
    row = changes.next_row
    changes.next_row += 1
    for model, vector in operation.features.items():
        _check_fits(model, vector, spaces)
        changes.added[model][row] = vector
    transaction.put(item_id, row_key(row), db=ids)
    transaction.put(row_key(row), Record.of(row, operation).to_bytes(), db=items)
    if operation.payload is not None:
        transaction.put(row_key(row), operation.payload, db=payloads)
    return Written(row, replaced)


def _store_features(
    transaction: lmdb.Transaction,
    database: Callable[[str], lmdb._Database],
    spaces: Mapping[str, SpaceRecord],
    changes: _Changes,
    first_row: int,
) -> None:
    graves = Graves(transaction, database("graves"))
    # Rows that this very transaction made and replaced again were never stored.
    full = graves.bury(row for row in changes.dead if row < first_row)
    for model, space in spaces.items():
        blocks = open_blocks(transaction, database, model, space)
        for block in full:
            blocks.sweep(block)
        blocks.append(changes.added[model])
    for block in full:
        graves.forget(block)


def _check_fits(model: str, vector: Floats, spaces: Mapping[str, SpaceRecord]) -> None:
    space = spaces.get(model)
    if space is None or vector.shape != (space.dimension,):
        there = "is not there" if space is None else f"has {space.dimension} dimensions"
        raise FailedPreconditionError(f"features of shape {vector.shape}: the space of {model!r} {there}")
