"""Features in blocks: up to 64 vectors of neighbouring rows share one LMDB value.

A 2 KB value of its own takes two pages of 4 KB; in blocks of 64 the file is 1.03 times the data and a scan of
a space runs at memory speed. A value is a header of 64 bytes (the slot of each vector, its row modulo 64),
which also keeps the vectors aligned, and then the vectors, little-endian, in the header's order.

To take one vector out of a block means to write the whole block again, so the dead are only marked, in a
mask of 64 bits a block that all spaces of the collection share, until half of a block is dead.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import lmdb
import numpy as np
import numpy.typing as npt

__all__ = ["ROWS_PER_BLOCK", "Blocks", "Graves"]

ROWS_PER_BLOCK = 64
MAX_DEAD_ROWS = ROWS_PER_BLOCK // 2

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Slots = npt.NDArray[np.uint8]


class Graves:
    """Which slots of each block are dead, within one transaction.

    Args:
        database: holds a mask of 64 bits by block number.
    """

    def __init__(self, transaction: lmdb.Transaction, database: lmdb._Database) -> None:
        self._transaction = transaction
        self._database = database

    def bury(self, rows: Iterable[int]) -> list[int]:
        """Mark rows as dead; returns the blocks that are worth sweeping since."""
        full = []
        for block, dead in _by_block(rows).items():
            mask = self.mask(block)
            for row in dead:
                mask |= 1 << (row % ROWS_PER_BLOCK)
            self._transaction.put(_number(block), mask.to_bytes(8, "big"), db=self._database)
            if mask.bit_count() >= MAX_DEAD_ROWS:
                full.append(block)
        return full

    def mask(self, block: int) -> int:
        """The dead slots of a block, bit by bit."""
        stored = self._transaction.get(_number(block), db=self._database)
        return 0 if stored is None else int.from_bytes(stored, "big")

    def forget(self, block: int) -> None:
        """Drop the marks of a block, after its dead were swept out of every space."""
        self._transaction.delete(_number(block), db=self._database)


class Blocks:
    """The vectors of one space, within one transaction.

    Args:
        database: of the features of all the collection's spaces.
        graves: tells which rows are dead.
        model: whose space it is.
        dimension: of its vectors.
        encoding: how they are stored: "float32" or "float16".
    """

    def __init__(
        self,
        transaction: lmdb.Transaction,
        database: lmdb._Database,
        graves: Graves,
        model: str,
        dimension: int,
        encoding: str,
    ) -> None:
        self._transaction = transaction
        self._database = database
        self._graves = graves
        self._prefix = model.encode() + b"\0"
        self._dimension = dimension
        self._dtype = np.dtype(encoding).newbyteorder("<")

    def append(self, vectors: Mapping[int, Floats]) -> None:
        """Add the vectors of new rows, (dimension,) float32 by row."""
        for block, rows in _by_block(vectors).items():
            slots, stored = self._block(block)
            added = np.array([row % ROWS_PER_BLOCK for row in rows], np.uint8)
            new = np.stack([vectors[row] for row in rows]).astype(self._dtype)
            self._put(block, np.concatenate([slots, added]), np.concatenate([stored, new]))

    def sweep(self, block: int) -> None:
        """Write a block again without its dead."""
        slots, stored = self._block(block)
        living = self._living(block, slots)
        if living.any():
            self._put(block, slots[living], stored[living])
        else:
            self._transaction.delete(self._prefix + _number(block), db=self._database)

    def read(self, rows: Iterable[int]) -> dict[int, Floats]:
        """The vectors of rows, (dimension,) float32 by row; rows without one are left out."""
        found: dict[int, Floats] = {}
        for block, wanted in _by_block(rows).items():
            slots, stored = self._block(block)
            living = self._living(block, slots)
            places = {slot: place for place, slot in enumerate(slots.tolist()) if living[place]}
            for row in wanted:
                place = places.get(row % ROWS_PER_BLOCK)
                if place is not None:
                    found[row] = stored[place].astype(np.float32)
        return found

    def scan(self, first_block: int) -> Iterator[tuple[int, Rows, npt.NDArray[np.floating]]]:
        """Iterate over the blocks from one on.

        Yields:
            The block's number, its living rows (b,) int64, ascending, and their vectors (b, dimension) as
            they are stored: it may be a view of the transaction's memory, to be copied before it ends.
        """
        with self._transaction.cursor(db=self._database) as cursor:
            if not cursor.set_range(self._prefix + _number(first_block)):
                return
            for key, value in cursor:
                if bytes(key[:-8]) != self._prefix:
                    return
                (block,) = struct.unpack(">Q", key[-8:])
                slots, stored = self._parts(value)
                living = self._living(block, slots)
                if not living.all():
                    slots, stored = slots[living], stored[living]
                yield block, slots.astype(np.int64) + block * ROWS_PER_BLOCK, stored

    def drop(self) -> None:
        """Delete the space's vectors, all of them."""
        with self._transaction.cursor(db=self._database) as cursor:
            found = cursor.set_range(self._prefix)
            while found and bytes(cursor.key()[:-8]) == self._prefix:
                found = cursor.delete()

    def _living(self, block: int, slots: Slots) -> npt.NDArray[np.bool_]:
        mask = self._graves.mask(block)
        if not mask:
            return np.ones(len(slots), np.bool_)
        return np.array([not mask >> slot & 1 for slot in slots.tolist()], np.bool_)

    def _block(self, block: int) -> tuple[Slots, npt.NDArray[np.floating]]:
        value = self._transaction.get(self._prefix + _number(block), db=self._database)
        return self._parts(b"" if value is None else value)

    def _parts(self, value: bytes | memoryview) -> tuple[Slots, npt.NDArray[np.floating]]:
        """The slots (b,) and vectors (b, dimension) of a stored block; none of one that is not there."""
        vectors = np.frombuffer(value[ROWS_PER_BLOCK:], self._dtype).reshape(-1, self._dimension)
        return np.frombuffer(value[: len(vectors)], np.uint8), vectors

    def _put(self, block: int, slots: Slots, vectors: npt.NDArray[np.floating]) -> None:
        # The header is filled up with 255, which is no slot.
        value = slots.tobytes().ljust(ROWS_PER_BLOCK, b"\xff") + vectors.tobytes()
        self._transaction.put(self._prefix + _number(block), value, db=self._database)


def _by_block(rows: Iterable[int]) -> dict[int, list[int]]:
    blocks: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        blocks[row // ROWS_PER_BLOCK].append(row)
    return blocks


def _number(block: int) -> bytes:
    return struct.pack(">Q", block)
