"""Features in blocks: the vectors of 64 neighbouring rows share one LMDB value.

A 2 KB value of its own takes a page of 4 KB; in blocks the file is 1.03 times the data, and a scan of a
space runs at memory speed. A value is sealed; its body is a mask of 64 bits, the slots that are taken (a
row's slot is its number modulo 64), and then their vectors, little-endian, in the order of slots.

To take one vector out of a block means to write the whole block again, so the dead are only marked, in a
mask of 64 bits a block that all spaces of the collection share, until half of a block is dead. The marks stay
for good: a start asks them which rows of a kept index still live, and need not look at the blocks.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import lmdb
import numpy as np
import numpy.typing as npt

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.storage.sealed import seal, unseal

__all__ = ["ROWS_PER_BLOCK", "Blocks", "Graves", "OnDamage", "encode", "rows_of"]

ROWS_PER_BLOCK = 64
MAX_DEAD_ROWS = ROWS_PER_BLOCK // 2
MASK_BYTES = ROWS_PER_BLOCK // 8

Rows = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Encoded = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
OnDamage = Callable[[range, DataLossError], None]
"""Told which rows a damaged block had, and what is wrong with it."""


def encode(vectors: Floats, encoding: str) -> Encoded:
    """Vectors as they are stored: little-endian "float32" or "float16".

    Raises:
        FailedPreconditionError: float16 does not hold a number.
    """
    with np.errstate(over="ignore"):
        encoded: Encoded = vectors.astype(np.dtype(encoding).newbyteorder("<"), copy=False)
    if not np.isfinite(encoded).all():
        raise FailedPreconditionError(f"the features have numbers that {encoding} does not hold")
    return encoded


class Graves:
    """Tombstones: which slots of each block are dead, or were until they were swept. For one transaction.

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
            before = mask = self.mask(block)
            for row in dead:
                mask |= 1 << (row % ROWS_PER_BLOCK)
            self._transaction.put(_number(block), mask.to_bytes(MASK_BYTES, "little"), db=self._database)
            if mask.bit_count() // MAX_DEAD_ROWS > before.bit_count() // MAX_DEAD_ROWS:
                full.append(block)
        return full

    def mask(self, block: int) -> int:
        """The dead slots of a block, bit by bit."""
        stored = self._transaction.get(_number(block), db=self._database)
        return 0 if stored is None else int.from_bytes(stored, "little")

    def are_dead(self, rows: Rows) -> Mask:
        """(n,) bool: whether each of some rows (n,) int64, ascending, is marked as dead."""
        dead = np.zeros(len(rows), np.bool_)
        theirs = rows // ROWS_PER_BLOCK
        blocks, masks = self._marks(theirs)
        if len(blocks):
            # Among all but the last, so that a place is one of theirs or the last one's.
            places = np.searchsorted(blocks[:-1], theirs)
            marked = np.flatnonzero(blocks[places] == theirs)
            slots = (rows[marked] % ROWS_PER_BLOCK).astype(np.uint64)
            dead[marked] = masks[places[marked]] >> slots & np.uint64(1)
        return dead

    def _marks(self, blocks: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """The marked ones (b,) between the first and the last of some blocks, and their marks, bit by bit."""
        keys, masks = bytearray(), bytearray()
        with self._transaction.cursor(db=self._database) as cursor:
            if len(blocks) and cursor.set_range(_number(int(blocks[0]))):
                last = _number(int(blocks[-1]))
                for key, mask in cursor:
                    if bytes(key) > last:
                        break
                    keys += key
                    masks += mask
        return np.frombuffer(keys, ">u8").astype(np.int64), np.frombuffer(masks, "<u8")

    def revive(self, rows: Iterable[int]) -> None:
        """Take the marks off rows; their features are there unless they were swept."""
        for block, living in _by_block(rows).items():
            mask = self.mask(block)
            for row in living:
                mask &= ~(1 << (row % ROWS_PER_BLOCK))
            self._transaction.put(_number(block), mask.to_bytes(MASK_BYTES, "little"), db=self._database)


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

    def append(self, rows: Rows, vectors: Encoded) -> None:
        """Add vectors, in place of those that the rows have.

        Args:
            rows: (n,) int64, ascending.
            vectors: (n, dimension), encoded.
        """
        blocks, starts = np.unique(rows // ROWS_PER_BLOCK, return_index=True)
        for block, start, end in zip(blocks.tolist(), starts, [*starts[1:], len(rows)], strict=True):
            taken, stored = self._block(block)
            if not len(taken):
                self._put(block, rows[start:end] % ROWS_PER_BLOCK, vectors[start:end])
                continue
            # Of a slot that occurs twice, the first place counts: the new one.
            slots, places = np.unique(
                np.concatenate([rows[start:end] % ROWS_PER_BLOCK, taken]), return_index=True
            )
            self._put(block, slots, np.concatenate([vectors[start:end], stored])[places])

    def sweep(self, block: int) -> None:
        """Write a block again without its dead."""
        slots, stored = self._living(block, *self._block(block))
        if len(slots):
            self._put(block, slots, stored)
        else:
            self._transaction.delete(self._prefix + _number(block), db=self._database)

    def read(self, rows: Iterable[int], on_damage: OnDamage | None = None) -> dict[int, Floats]:
        """The vectors of rows, (dimension,) float32 by row; rows without one are left out.

        Args:
            on_damage: told of each damaged block, whose rows are left out then.

        Raises:
            DataLossError: a block is damaged, and there is nobody to be told.
        """
        found: dict[int, Floats] = {}
        for block, wanted in _by_block(rows).items():
            try:
                slots, stored = self._living(block, *self._block(block))
            except DataLossError as error:
                if on_damage is None:
                    raise
                on_damage(_range_of(block), error)
                continue
            places = {slot: place for place, slot in enumerate(slots.tolist())}
            for row in wanted:
                place = places.get(row % ROWS_PER_BLOCK)
                if place is not None:
                    found[row] = stored[place].astype(np.float32)
        return found

    def scan(
        self, first_block: int, on_damage: OnDamage | None = None
    ) -> Iterator[tuple[int, Rows, Encoded]]:
        """Iterate over the blocks from one on.

        Args:
            on_damage: told of each damaged block, which is passed over then.

        Yields:
            The block's number, its living rows (b,) int64, ascending, and their vectors (b, dimension) as
            they are stored: it may be a view of the transaction's memory, to be copied before it ends.

        Raises:
            DataLossError: a block is damaged, and there is nobody to be told.
        """
        with self._transaction.cursor(db=self._database) as cursor:
            if not cursor.set_range(self._prefix + _number(first_block)):
                return
            for key, value in cursor:
                if bytes(key[:-8]) != self._prefix:
                    return
                block = _block_of(key[-8:])
                try:
                    slots, stored = self._living(block, *self._opened(bytes(key), value))
                except DataLossError as error:
                    if on_damage is None:
                        raise
                    on_damage(_range_of(block), error)
                    continue
                yield block, slots + block * ROWS_PER_BLOCK, stored

    def rows(self, block: int, value: bytes | memoryview) -> Rows:
        """The living rows (b,) int64 of a stored block.

        Raises:
            DataLossError: it is damaged.
        """
        slots, vectors = self._opened(self._prefix + _number(block), value)
        return self._living(block, slots, vectors)[0] + block * ROWS_PER_BLOCK

    def drop(self) -> None:
        """Delete the space's vectors, all of them."""
        with self._transaction.cursor(db=self._database) as cursor:
            found = cursor.set_range(self._prefix)
            while found and bytes(cursor.key()[:-8]) == self._prefix:
                found = cursor.delete()

    def _living(self, block: int, slots: Slots, vectors: Encoded) -> tuple[Slots, Encoded]:
        dead = self._graves.mask(block)
        if not dead:
            return slots, vectors
        living = (np.uint64(dead) >> slots.astype(np.uint64) & np.uint64(1)) == 0
        # Of most blocks that were swept all that are left live, and need not be copied.
        return (slots, vectors) if living.all() else (slots[living], vectors[living])

    def _block(self, block: int) -> tuple[Slots, Encoded]:
        """The taken slots (b,) of a block, ascending, and their vectors (b, dimension), dead or not."""
        key = self._prefix + _number(block)
        value = self._transaction.get(key, db=self._database)
        if value is None:
            return np.empty(0, np.int64), np.empty((0, self._dimension), self._dtype)
        return self._opened(key, value)

    def _opened(self, key: bytes, value: bytes | memoryview) -> tuple[Slots, Encoded]:
        body = unseal(key, value)
        vectors = np.frombuffer(body[MASK_BYTES:], self._dtype).reshape(-1, self._dimension)
        return _slots(body[:MASK_BYTES]), vectors

    def _put(self, block: int, slots: Slots, vectors: Encoded) -> None:
        taken = np.zeros(ROWS_PER_BLOCK, np.bool_)
        taken[slots] = True
        key = self._prefix + _number(block)
        mask = np.packbits(taken, bitorder="little").tobytes()
        body = np.ascontiguousarray(vectors).data.cast("B")
        self._transaction.put(key, seal(key, mask, body), db=self._database)


def rows_of(block: int, mask: int = (1 << ROWS_PER_BLOCK) - 1) -> list[int]:
    """The rows of a block whose bits are set in a mask."""
    return [block * ROWS_PER_BLOCK + slot for slot in range(ROWS_PER_BLOCK) if mask >> slot & 1]


def _by_block(rows: Iterable[int]) -> dict[int, list[int]]:
    blocks: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        blocks[row // ROWS_PER_BLOCK].append(row)
    return blocks


def _slots(mask: bytes | memoryview) -> Slots:
    """The slots whose bits are set, ascending."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little"))


def _range_of(block: int) -> range:
    return range(block * ROWS_PER_BLOCK, (block + 1) * ROWS_PER_BLOCK)


def _block_of(number: bytes | memoryview) -> int:
    return int.from_bytes(number, "big")


def _number(block: int) -> bytes:
    return struct.pack(">Q", block)
