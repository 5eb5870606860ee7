"""Features in blocks: up to 64 vectors of neighbouring rows share one LMDB value.

A 2 KB value of its own takes two pages of 4 KB; in blocks of 64 the file is 1.03 times the data and a scan of
a space runs at memory speed. A value is a header of 64 bytes (the slot of each vector, its row modulo 64),
which also keeps the vectors aligned, and then the vectors, little-endian float32, in the header's order.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import lmdb
import numpy as np
import numpy.typing as npt

__all__ = ["append", "drop", "read", "remove", "scan"]

ROWS_PER_BLOCK = 64
_FLOAT32 = np.dtype("<f4")

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def append(
    transaction: lmdb.Transaction,
    database: lmdb._Database,
    model: str,
    vectors: Mapping[int, Floats],
) -> None:
    """Add the vectors of new rows, (d,) float32 by row."""
    for block, rows in _by_block(vectors).items():
        key = _key(model, block)
        slots, stored = _parts(transaction.get(key, db=database))
        added = bytes(row % ROWS_PER_BLOCK for row in rows)
        body = b"".join(vectors[row].astype(_FLOAT32, copy=False).tobytes() for row in rows)
        transaction.put(key, _header(slots + added) + bytes(stored) + body, db=database)


def remove(
    transaction: lmdb.Transaction, database: lmdb._Database, model: str, dead: Iterable[int], dimension: int
) -> None:
    """Take out the vectors of dead rows; rows without one are passed over."""
    for block, rows in _by_block(dead).items():
        key = _key(model, block)
        slots, stored = _parts(transaction.get(key, db=database))
        gone = {row % ROWS_PER_BLOCK for row in rows}
        kept = [place for place, slot in enumerate(slots) if slot not in gone]
        if len(kept) == len(slots):
            continue
        if not kept:
            transaction.delete(key, db=database)
            continue
        vectors = np.frombuffer(stored, _FLOAT32).reshape(-1, dimension)
        value = _header(bytes(slots[place] for place in kept)) + vectors[kept].tobytes()
        transaction.put(key, value, db=database)


def read(
    transaction: lmdb.Transaction, database: lmdb._Database, model: str, rows: Iterable[int], dimension: int
) -> dict[int, Floats]:
    """The vectors of rows, (dimension,) float32 by row; rows without one are left out."""
    found: dict[int, Floats] = {}
    for block, wanted in _by_block(rows).items():
        slots, stored = _parts(transaction.get(_key(model, block), db=database))
        places = {slot: place for place, slot in enumerate(slots)}
        vectors = np.frombuffer(stored, _FLOAT32).reshape(-1, dimension)
        for row in wanted:
            place = places.get(row % ROWS_PER_BLOCK)
            if place is not None:
                found[row] = vectors[place].astype(np.float32)
    return found


def scan(
    transaction: lmdb.Transaction, database: lmdb._Database, model: str, first_block: int, dimension: int
) -> Iterator[tuple[int, Rows, Floats]]:
    """Iterate over a space's blocks from one on.

    Yields:
        The block's number, its rows (b,) int64, and their vectors (b, dimension) float32: a view of the
        transaction's memory, to be copied before it ends.
    """
    prefix = _key(model, 0)[:-8]
    with transaction.cursor(db=database) as cursor:
        if not cursor.set_range(_key(model, first_block)):
            return
        for key, value in cursor:
            if bytes(key[:-8]) != prefix:
                return
            (block,) = struct.unpack(">Q", key[-8:])
            slots, stored = _parts(value)
            rows = np.frombuffer(slots, np.uint8).astype(np.int64) + block * ROWS_PER_BLOCK
            yield block, rows, np.frombuffer(stored, _FLOAT32).reshape(-1, dimension)


def drop(transaction: lmdb.Transaction, database: lmdb._Database, model: str) -> None:
    """Delete a space's vectors, all of them."""
    prefix = _key(model, 0)[:-8]
    with transaction.cursor(db=database) as cursor:
        found = cursor.set_range(prefix)
        while found and bytes(cursor.key()[:-8]) == prefix:
            found = cursor.delete()


def _by_block(rows: Iterable[int]) -> dict[int, list[int]]:
    blocks: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        blocks[row // ROWS_PER_BLOCK].append(row)
    return blocks


def _key(model: str, block: int) -> bytes:
    return model.encode() + b"\0" + struct.pack(">Q", block)


def _header(slots: bytes) -> bytes:
    """The slots as stored: filled up with 255, which is no slot, where the block is not full."""
    return slots.ljust(ROWS_PER_BLOCK, b"\xff")


def _parts(value: bytes | memoryview | None) -> tuple[bytes, bytes | memoryview]:
    """The slots and the vectors' bytes of a stored block; nothing of a block that is not there."""
    if value is None:
        return b"", b""
    return bytes(value[:ROWS_PER_BLOCK]).rstrip(b"\xff"), value[ROWS_PER_BLOCK:]
