"""What is read of a collection's databases, inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable

import lmdb
import numpy as np

from embeddb.storage.blocks import Floats, OnDamage, Rows
from embeddb.storage.databases import Databases, open_blocks, read_spaces, row_key, row_of
from embeddb.storage.records import Record
from embeddb.storage.sealed import unseal

__all__ = [
    "SCAN_ROWS",
    "as_record",
    "find_rows",
    "read_features",
    "read_payloads",
    "read_record",
    "read_sequence",
    "scan_batch",
]

# Of 512 dimensions that is 16 MB. What is larger than 32 MB the C library takes from the system each time,
# and the system clears it: a scan took four times as long.
SCAN_ROWS = 8192


def read_sequence(transaction: lmdb.Transaction, database: Databases) -> int:
    """The number of the last commit; 0 before the first."""
    return row_of(transaction.get(b"sequence", db=database("meta"), default=row_key(0)))


def find_rows(transaction: lmdb.Transaction, database: Databases, ids: Iterable[str]) -> list[int | None]:
    """The rows of ids, in order; None for one that is not there."""
    handle = database("ids")
    found = [transaction.get(item_id.encode(), db=handle) for item_id in ids]
    return [None if stored is None else row_of(stored) for stored in found]


def read_record(transaction: lmdb.Transaction, items: lmdb._Database, row: int) -> Record | None:
    """The item of a row; None for a row that is dead."""
    key = row_key(row)
    return as_record(row, key, transaction.get(key, db=items))


def as_record(row: int, key: bytes, stored: bytes | memoryview | None) -> Record | None:
    """What is stored under a row's key; None for nothing."""
    return None if stored is None else Record.from_bytes(row, unseal(key, stored))


def read_payloads(
    transaction: lmdb.Transaction, database: Databases, rows: Iterable[int]
) -> list[bytes | None]:
    """The payloads of rows, in order; None where there is none."""
    handle = database("payloads")
    keys = [row_key(row) for row in rows]
    found = [transaction.get(key, db=handle) for key in keys]
    return [
        None if value is None else bytes(unseal(key, value)) for key, value in zip(keys, found, strict=True)
    ]


def read_features(
    transaction: lmdb.Transaction,
    database: Databases,
    model: str,
    rows: Iterable[int],
    on_damage: OnDamage | None = None,
) -> dict[int, Floats]:
    """The features of rows in a space, (d,) float32 by row; none of a space that is not there."""
    space = read_spaces(transaction, database).get(model)
    if space is None:
        return {}
    return open_blocks(transaction, database, model, space).read(rows, on_damage)


def scan_batch(
    transaction: lmdb.Transaction,
    database: Databases,
    model: str,
    first_block: int,
    on_damage: OnDamage | None,
) -> tuple[Rows, Floats, int | None]:
    """A batch of a scan of a space, from a block on.

    Returns:
        Rows (b,) int64, ascending, their vectors (b, d) float32, and the block that the next batch starts
        with, if there is one.
    """
    space = read_spaces(transaction, database).get(model)
    if space is None:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32), None
    rows: list[Rows] = []
    vectors: list[Floats] = []
    count = 0
    next_block = None
    blocks = open_blocks(transaction, database, model, space)
    for block, block_rows, block_vectors in blocks.scan(first_block, on_damage):
        if count >= SCAN_ROWS:
            next_block = block
            break
        rows.append(block_rows)
        vectors.append(block_vectors)
        count += len(block_rows)
    # In one copy, and before the transaction ends, for these are views of its memory.
    found = np.empty((count, space.dimension), np.float32)
    if vectors:
        np.concatenate(vectors, out=found, casting="same_kind")
    return np.concatenate(rows) if rows else np.empty(0, np.int64), found, next_block
