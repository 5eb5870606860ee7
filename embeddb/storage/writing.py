"""What a write does to a collection's databases, inside one transaction."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import lmdb
import numpy as np

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.precedence import searches
from embeddb.storage.blocks import ROWS_PER_BLOCK, Floats, Graves, encode
from embeddb.storage.databases import Databases, SpaceRecord, open_blocks, row_key, row_of
from embeddb.storage.reading import read_sequence
from embeddb.storage.records import Committed, Delete, Put, Written, to_bytes
from embeddb.storage.sealed import seal

__all__ = ["apply"]

log = logging.getLogger(__name__)


@dataclass
class _Changes:
    """What the operations so far have come to; nothing of it is written before they are all done.

    Attributes:
        rows: the row that each id has now, if it has one; None for one that is deleted.
        puts: the living items among those put, by row.
        dead: rows that were alive, before this transaction or within it.
        written: what each operation did.
    """

    next_row: int
    rows: dict[str, int | None]
    puts: dict[int, Put] = field(default_factory=dict)
    dead: list[int] = field(default_factory=list)
    written: Written = field(default_factory=Written)

    def do(self, operation: Put | Delete) -> None:
        """Take in an operation."""
        row, replaced = self._row_and_replaced(operation)
        self.written.rows.append(row)
        self.written.replaced.append(replaced)

    def _row_and_replaced(self, operation: Put | Delete) -> tuple[int | None, int | None]:
        """Take in an operation; returns what `Written` has of it."""
        replaced = self.rows.get(operation.id)
        if operation.row not in (None, replaced):
            return None, None
        if replaced is not None:
            self.dead.append(replaced)
            self.puts.pop(replaced, None)
        if isinstance(operation, Delete):
            self.rows[operation.id] = None
            return None, replaced
        row = self.next_row
        self.next_row += 1
        self.rows[operation.id] = row
        self.puts[row] = operation
        return row, replaced


def apply(
    transaction: lmdb.Transaction,
    database: Databases,
    spaces: Mapping[str, SpaceRecord],
    operations: Sequence[Put | Delete],
    *,
    begin_block: bool = False,
) -> tuple[Written, Committed]:
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
    sequence = read_sequence(transaction, database) + 1
    changes = _Changes(first_row, _rows(transaction, ids, operations))
    for operation in operations:
        changes.do(operation)
    # Rows that this very transaction made and replaced again are nowhere yet.
    _bury(transaction, database, spaces, [row for row in changes.dead if row < first_row])
    _store_items(transaction, database, changes)
    added = _store_features(transaction, database, spaces, changes.puts)
    transaction.put(b"next_row", row_key(changes.next_row), db=meta)
    transaction.put(b"sequence", row_key(sequence), db=meta)
    return changes.written, Committed(sequence, added, np.array(changes.dead, np.int64))


def _rows(
    transaction: lmdb.Transaction, ids: lmdb._Database, operations: Sequence[Put | Delete]
) -> dict[str, int | None]:
    """The rows that the items of operations have, by id; those that are not there are left out."""
    by_key = {operation.id.encode(): operation.id for operation in operations}
    with transaction.cursor(db=ids) as cursor:
        return {by_key[bytes(key)]: row_of(row) for key, row in cursor.getmulti(by_key)}


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
            # The marks keep what is dead out of every space.
            log.error("block %d keeps its dead vectors: %s", block, error)


def _store_items(transaction: lmdb.Transaction, database: Databases, changes: _Changes) -> None:
    ids = database("ids")
    for item_id, row in changes.rows.items():
        if row is None:
            transaction.delete(item_id.encode(), db=ids)
    keys, puts = list(map(row_key, changes.puts)), changes.puts.values()
    with transaction.cursor(db=ids) as cursor:
        by_id = sorted(zip([put.id.encode() for put in puts], keys, strict=True))
        cursor.putmulti(searches.behind(by_id))
    _append_sealed(transaction, database("items"), zip(keys, map(to_bytes, puts), strict=True))
    payloads = ((key, put.payload) for key, put in zip(keys, puts, strict=True) if put.payload is not None)
    _append_sealed(transaction, database("payloads"), payloads)


def _append_sealed(
    transaction: lmdb.Transaction, database: lmdb._Database, values: Iterable[tuple[bytes, bytes]]
) -> None:
    """Store values of new rows, which are behind all others and in order: LMDB stores these fastest."""
    sealed = ((key, seal(key, body)) for key, body in searches.behind(values))
    with transaction.cursor(db=database) as cursor:
        given, stored = cursor.putmulti(sealed, append=True)
    if stored != given:
        raise DataLossError(
            "the number of the next row is behind the rows that are stored; `embeddb-server verify --repair` "
            "sets it"
        )


def _store_features(
    transaction: lmdb.Transaction,
    database: Databases,
    spaces: Mapping[str, SpaceRecord],
    puts: Mapping[int, Put],
) -> dict[str, tuple[np.ndarray, Floats]]:
    """Store the features of new rows; returns them as they are read from now on."""
    rows: dict[str, list[int]] = defaultdict(list)
    vectors: dict[str, list[Floats]] = defaultdict(list)
    for row, put in puts.items():
        for model, vector in put.features.items():
            rows[model].append(row)
            vectors[model].append(vector)
    added = {}
    for model, found in vectors.items():
        space = _space_for(model, found, spaces)
        where = np.array(rows[model], np.int64)
        # Several times as fast as `np.stack`, which makes a view of each first.
        encoded = encode(np.concatenate(found).reshape(len(found), -1), space.encoding)
        open_blocks(transaction, database, model, space).append(where, encoded)
        added[model] = where, encoded.astype(np.float32, copy=False)
    return added


def _space_for(model: str, vectors: Sequence[Floats], spaces: Mapping[str, SpaceRecord]) -> SpaceRecord:
    """The space of a model, which takes all of the vectors.

    Raises:
        FailedPreconditionError: it does not, or is not there.
    """
    space = spaces.get(model)
    shapes = {vector.shape for vector in vectors}
    if space is None or shapes != {(space.dimension,)}:
        there = "is not there" if space is None else f"has {space.dimension} dimensions"
        raise FailedPreconditionError(f"features of shape {max(shapes)}: the space of {model!r} {there}")
    return space
