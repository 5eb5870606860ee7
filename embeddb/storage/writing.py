"""What a write does to a collection's databases, inside one transaction."""

from __future__ import annotations

import logging
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import lmdb
import numpy as np

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.storage.blocks import ROWS_PER_BLOCK, Blocks, Floats, Graves, encode
from embeddb.storage.records import Committed, Delete, Put, Written, to_bytes
from embeddb.storage.sealed import seal

__all__ = ["SpaceRecord", "apply", "open_blocks", "row_key", "row_of"]

log = logging.getLogger(__name__)

Databases = Callable[[str], lmdb._Database]


@dataclass(frozen=True)
class SpaceRecord:
    """What a space was filled with, and how its vectors are stored: "float32" or "float16"."""

    dimension: int
    fingerprint: str
    encoding: str


@dataclass
class _Changes:
    """What the operations so far have come to; nothing of it is written before they are all done.

    Attributes:
        rows: the row that each id has now; None for one that is deleted.
        puts: the living items among those put, by row.
        dead: rows that were alive, before this transaction or within it.
    """

    next_row: int
    rows: dict[str, int | None] = field(default_factory=dict)
    puts: dict[int, Put] = field(default_factory=dict)
    dead: list[int] = field(default_factory=list)

    def do(self, operation: Put | Delete, replaced: int | None) -> Written:
        """Take in an operation on an id that has had the row `replaced`."""
        if operation.row not in (None, replaced):
            return Written(None, None)
        if replaced is not None:
            self.dead.append(replaced)
            self.puts.pop(replaced, None)
        if isinstance(operation, Delete):
            self.rows[operation.id] = None
            return Written(None, replaced)
        row = self.next_row
        self.next_row += 1
        self.rows[operation.id] = row
        self.puts[row] = operation
        return Written(row, replaced)


def apply(
    transaction: lmdb.Transaction,
    database: Databases,
    spaces: Mapping[str, SpaceRecord],
    operations: Sequence[Put | Delete],
    *,
    begin_block: bool = False,
) -> tuple[list[Written], Committed]:
    """Do operations in order.

    Args:
        database: the handle of a named database.
        spaces: the collection's spaces by model name.
        begin_block: whether to leave the rest of the last block of vectors empty.

    Raises:
        FailedPreconditionError: features do not fit their space, or it is not there.
        DataLossError: the last block, which is to take the new vectors, is damaged.
    """
    meta, ids = database("meta"), database("ids")
    first_row = row_of(transaction.get(b"next_row", db=meta, default=row_key(0)))
    if begin_block:
        first_row += -first_row % ROWS_PER_BLOCK
    sequence = row_of(transaction.get(b"sequence", db=meta, default=row_key(0))) + 1
    changes = _Changes(first_row)
    written = []
    for operation in operations:
        if operation.id in changes.rows:
            replaced = changes.rows[operation.id]
        else:
            stored = transaction.get(operation.id.encode(), db=ids)
            replaced = None if stored is None else row_of(stored)
        written.append(changes.do(operation, replaced))
    # Rows that this very transaction made and replaced again are nowhere yet.
    _bury(transaction, database, spaces, [row for row in changes.dead if row < first_row])
    _store_items(transaction, database, changes)
    added = _store_features(transaction, database, spaces, changes.puts)
    transaction.put(b"next_row", row_key(changes.next_row), db=meta)
    transaction.put(b"sequence", row_key(sequence), db=meta)
    return written, Committed(sequence, added, np.array(changes.dead, np.int64))


def open_blocks(transaction: lmdb.Transaction, database: Databases, model: str, space: SpaceRecord) -> Blocks:
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


def _bury(
    transaction: lmdb.Transaction,
    database: Databases,
    spaces: Mapping[str, SpaceRecord],
    dead: Sequence[int],
) -> None:
    """Take dead rows out of everything."""
    for row in dead:
        transaction.delete(row_key(row), db=database("items"))
        transaction.delete(row_key(row), db=database("payloads"))
    graves = Graves(transaction, database("graves"))
    for block in graves.bury(dead):
        try:
            for model, space in spaces.items():
                open_blocks(transaction, database, model, space).sweep(block)
        except DataLossError as error:
            # The marks keep what is dead out of every space until the damage is repaired.
            log.error("block %d keeps its dead vectors: %s", block, error)
        else:
            graves.forget(block)


def _store_items(transaction: lmdb.Transaction, database: Databases, changes: _Changes) -> None:
    ids = database("ids")
    for item_id, row in changes.rows.items():
        if row is None:
            transaction.delete(item_id.encode(), db=ids)
    with transaction.cursor(db=ids) as cursor:
        cursor.putmulti(sorted((put.id.encode(), row_key(row)) for row, put in changes.puts.items()))
    # New rows are behind all others, and in order, which LMDB stores fastest.
    records = ((row_key(row), to_bytes(put)) for row, put in changes.puts.items())
    _append_sealed(transaction, database("items"), records)
    payloads = ((row_key(row), put.payload) for row, put in changes.puts.items() if put.payload is not None)
    _append_sealed(transaction, database("payloads"), payloads)


def _append_sealed(
    transaction: lmdb.Transaction, database: lmdb._Database, values: Iterable[tuple[bytes, bytes]]
) -> None:
    sealed = [(key, seal(key, body)) for key, body in values]
    with transaction.cursor(db=database) as cursor:
        _, stored = cursor.putmulti(sealed, append=True)
    if stored != len(sealed):
        raise DataLossError("the number of the next row is behind the rows that are stored; restore a backup")


def _store_features(
    transaction: lmdb.Transaction,
    database: Databases,
    spaces: Mapping[str, SpaceRecord],
    puts: Mapping[int, Put],
) -> dict[str, tuple[np.ndarray, Floats]]:
    """Store the features of new rows; returns them as they are read from now on."""
    vectors: dict[str, dict[int, Floats]] = defaultdict(dict)
    for row, put in puts.items():
        for model, vector in put.features.items():
            _check_fits(model, vector, spaces)
            vectors[model][row] = vector
    added = {}
    for model, by_row in vectors.items():
        rows = np.array(list(by_row), np.int64)
        encoded = encode(_matrix(list(by_row.values())), spaces[model].encoding)
        open_blocks(transaction, database, model, spaces[model]).append(rows, encoded)
        added[model] = rows, encoded.astype(np.float32, copy=False)
    return added


def _matrix(vectors: Sequence[Floats]) -> Floats:
    """Vectors (d,) as (n, d); several times as fast as `np.stack`, which makes a view of each first."""
    return np.concatenate(vectors).reshape(len(vectors), -1)


def _check_fits(model: str, vector: Floats, spaces: Mapping[str, SpaceRecord]) -> None:
    space = spaces.get(model)
    if space is None or vector.shape != (space.dimension,):
        there = "is not there" if space is None else f"has {space.dimension} dimensions"
        raise FailedPreconditionError(f"features of shape {vector.shape}: the space of {model!r} {there}")
