"""One collection's environment: items, payloads and features, written in transactions that calls share."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from itertools import islice, takewhile
from pathlib import Path

import lmdb
import numpy as np

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.query import Encoding
from embeddb.storage.blocks import ROWS_PER_BLOCK, Floats, Graves, Mask, OnDamage, Rows
from embeddb.storage.databases import DATABASES, SpaceRecord, open_blocks, read_spaces, row_key, row_of
from embeddb.storage.environment import Durability, Environment, Use
from embeddb.storage.group_commit import GroupCommit, Operation
from embeddb.storage.reading import (
    as_record,
    find_rows,
    read_features,
    read_payloads,
    read_record,
    read_sequence,
    scan_batch,
)
from embeddb.storage.recent import RecentRecords, RecordsMemory
from embeddb.storage.records import Committed, Put, Record, Written
from embeddb.storage.sealed import seal, unseal
from embeddb.storage.writing import apply

__all__ = ["CollectionStore"]

log = logging.getLogger(__name__)


class CollectionStore:
    """A collection's items. Thread-safe.

    Writes that arrive while a transaction is being made durable go into the next one together (group
    commit), so that a durable put does not cost a disk flush of its own.

    Args:
        path: the environment's folder.
        name: for the thread's name.
        durability: when a write is on the disk.
        memory: of the records that stay in memory, shared with other collections; one of its own if None.
        create: whether to make the environment if it is not there.

    Attributes:
        turn: held by a transaction until it is made durable, and to be held by any other work on thousands of
            operations in Python: two threads at such work would pass the interpreter to and fro with each
            call of LMDB, and take half as long again.

    Raises:
        DataLossError: the files are damaged or not there.
        ResourceExhaustedError: the disk is full.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        durability: Durability = Durability.SYNC,
        memory: RecordsMemory | None = None,
        *,
        create: bool = False,
    ) -> None:
        self.path = path
        self.turn = threading.Lock()
        self._env = Environment(path, DATABASES, durability, create=create)
        self._database = self._env.database
        self._items = self._database("items")
        self._recent = RecentRecords(self.sequence(), memory or RecordsMemory())
        self._listener: Callable[[Committed], None] | None = None
        flush = self._env.flush if durability is Durability.ASYNC else None
        self._commits = GroupCommit(f"commit-{name}", self._commit, self._publish, flush)

    # -- Writing ----------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[Committed], None]) -> None:
        """Have every commit from now on told to `listener`, in order, before the writes in it return."""
        self._listener = listener

    def write(self, operations: Sequence[Operation]) -> Written:
        """Do the operations in order, all or nothing; they are durable when this returns.

        Raises:
            ResourceExhaustedError: the disk is full; nothing was changed.
            FailedPreconditionError: features do not fit their space, or it is not there.
            InternalError: the write is stored, but the listener failed on it.
        """
        return self._commits.write(operations)

    def begin_write(self, operations: Sequence[Operation]) -> Future[Written]:
        """Do the operations as `write` does, and go on meanwhile; they are durable when the future is done.

        Writes are done in the order in which they began.
        """
        return self._commits.begin(operations)

    def create_space(
        self, model: str, dimension: int, fingerprint: str, encoding: Encoding = Encoding.FLOAT32
    ) -> None:
        """Make room for a model's features; nothing happens if it is there with the same fingerprint.

        Args:
            encoding: of its vectors on the disk; a space that is there keeps its own.

        Raises:
            FailedPreconditionError: the space is filled by a model of another fingerprint.
        """
        present = self.spaces().get(model)
        if present is not None:
            if present.fingerprint != fingerprint:
                raise FailedPreconditionError(
                    f"the space of model {model!r} was filled by weights {present.fingerprint[:12]}, and "
                    f"those loaded are {fingerprint[:12]}; register the new ones under a new name"
                )
            return
        record = json.dumps(asdict(SpaceRecord(dimension, fingerprint, encoding))).encode()
        stored = seal(model.encode(), record)
        self._env.write(lambda txn: txn.put(model.encode(), stored, db=self._database("spaces")))

    def drop_space(self, model: str) -> None:
        """Delete a model's features."""

        def change(transaction: lmdb.Transaction) -> None:
            space = read_spaces(transaction, self._database).get(model)
            if space is not None:
                open_blocks(transaction, self._database, model, space).drop()
                transaction.delete(model.encode(), db=self._database("spaces"))

        self._env.write(change)

    # -- Reading ----------------------------------------------------------------------------------------

    def spaces(self) -> dict[str, SpaceRecord]:
        """The spaces by model name."""
        with self._env.read() as transaction:
            return read_spaces(transaction, self._database)

    def get(self, ids: Iterable[str]) -> list[Record | None]:
        """The items of ids, in order; None for one that is not there."""
        with self._env.read(buffers=False) as transaction:
            rows = find_rows(transaction, self._database, ids)
            return [None if row is None else read_record(transaction, self._items, row) for row in rows]

    def by_rows(self, rows: Sequence[int], *, keep: bool = False) -> list[Record | None]:
        """The items of rows, in order and as they are at one moment; None for a row that is dead.

        Args:
            keep: whether they stay in memory, as long as there is room, for who asks with `keep` again. The
                records are shared, then, and not to be changed.
        """
        with self._env.read(buffers=False) as transaction:
            if not keep:
                return self._read(transaction, rows)
            sequence = read_sequence(transaction, self._database)
            found = self._recent.find(sequence, rows)
            absent = [row for row, record in zip(rows, found, strict=True) if record is None]
            if not absent:
                return found
            records = self._read(transaction, absent)
            self._recent.keep(sequence, [record for record in records if record is not None])
            read = iter(records)
            return [next(read) if record is None else record for record in found]

    def records_after(self, row: int, limit: int) -> list[Record]:
        """Up to `limit` items in the order of rows, those after `row`; -1 to begin with the first."""
        found: list[Record] = []
        with self._env.read() as transaction, transaction.cursor(db=self._items) as cursor:
            if cursor.set_range(row_key(row + 1)):
                for key, value in islice(cursor, limit):
                    found.append(Record.from_bytes(row_of(key), unseal(bytes(key), bytes(value))))
        return found

    def last_row(self) -> int:
        """The highest row that there is, or was; -1 before the first."""
        with self._env.read() as transaction:
            stored = transaction.get(b"next_row", db=self._database("meta"))
            return -1 if stored is None else row_of(stored) - 1

    def rows(self, ids: Sequence[str]) -> list[int | None]:
        """The rows of ids, in order; None for one that is not there."""
        with self._env.read() as transaction:
            return find_rows(transaction, self._database, ids)

    def rows_between(self, first: bytes, end: bytes) -> Rows:
        """The rows (n,) int64 of the ids that are not less than `first` and less than `end`, as UTF-8."""
        with self._env.read() as transaction, transaction.cursor(db=self._env.database("ids")) as cursor:
            if not cursor.set_range(first):
                return np.empty(0, np.int64)
            inside = takewhile(lambda stored: bytes(stored[0]) < end, cursor)
            return np.array([row_of(value) for _, value in inside], np.int64)

    def lookup(self, model: str, ids: Sequence[str]) -> tuple[list[int | None], dict[int, Floats]]:
        """The rows of ids and their features in a space, at one moment; see `rows` and `features`."""
        with self._env.read() as transaction:
            rows = find_rows(transaction, self._database, ids)
            there = [row for row in rows if row is not None]
            return rows, read_features(transaction, self._database, model, there)

    def payloads(self, rows: Iterable[int]) -> list[bytes | None]:
        """The payloads of rows, in order; None where there is none."""
        with self._env.read() as transaction:
            return read_payloads(transaction, self._database, rows)

    def fitting(self, rows: Iterable[int], size: int) -> int:
        """How many of the rows, one at least, have payloads of no more than `size` bytes together."""
        database = self._database("payloads")
        taken = count = 0
        with self._env.read() as transaction:
            for row in rows:
                taken += len(transaction.get(row_key(row), b"", db=database))
                if count and taken > size:
                    break
                count += 1
        return count

    def again(self, records: Sequence[Record], models: Iterable[str]) -> list[Put]:
        """Puts that store items again as they are, with their payloads and the features of these models.

        The caller keeps the spaces of these models from being dropped before the puts are written.
        """
        rows = [record.row for record in records]
        with self._env.read() as transaction:
            payloads = read_payloads(transaction, self._database, rows)
            features = {model: read_features(transaction, self._database, model, rows) for model in models}
        return [record.again(payload, features) for record, payload in zip(records, payloads, strict=True)]

    def features(
        self, model: str, rows: Iterable[int], on_damage: OnDamage | None = None
    ) -> dict[int, Floats]:
        """The features of rows in a space, (d,) float32 by row; rows without them are left out.

        Args:
            on_damage: told of each damaged block of vectors, whose rows are left out then.

        Raises:
            DataLossError: a block is damaged, and there is nobody to be told.
        """
        with self._env.read() as transaction:
            return read_features(transaction, self._database, model, rows, on_damage)

    def are_dead(self, rows: Rows) -> Mask:
        """(n,) bool: whether each of some rows (n,) int64, ascending, that were once stored is dead now.

        No vector is looked at, nor a block of them.
        """
        with self._env.read() as transaction:
            return Graves(transaction, self._database("graves")).are_dead(rows)

    def scan(
        self, model: str, on_damage: OnDamage | None = None, *, after: int = -1
    ) -> Iterator[tuple[Rows, Floats]]:
        """Iterate over a space.

        Args:
            after: the row before the first one.
            on_damage: told of each damaged block of vectors, which is passed over then.

        Yields:
            Rows (b,) int64, ascending, and their vectors (b, d) float32. Each batch is one moment of the
            data: a write between two of them may show in the later one.

        Raises:
            DataLossError: a block is damaged, and there is nobody to be told.
        """
        next_block: int | None = (after + 1) // ROWS_PER_BLOCK
        while next_block is not None:
            with self._env.read() as transaction:
                batch = scan_batch(transaction, self._database, model, next_block, on_damage)
            rows, vectors, next_block = batch
            first = int(np.searchsorted(rows, after, side="right"))
            if first < len(rows):
                yield rows[first:], vectors[first:]

    def list_records(self, *, after: str, limit: int, prefix: str) -> list[Record]:
        """Up to `limit` items in the order of ids, those after `after` that begin with `prefix`."""
        start = max(after.encode() + b"\0" if after else b"", prefix.encode())
        found: list[Record] = []
        with self._env.read() as transaction, transaction.cursor(db=self._database("ids")) as cursor:
            if not cursor.set_range(start):
                return found
            for key, value in cursor:
                if len(found) == limit or not bytes(key).startswith(prefix.encode()):
                    break
                record = read_record(transaction, self._items, row_of(value))
                assert record is not None, "an id's row is there as long as the id"
                found.append(record)
        return found

    def count(self) -> int:
        """How many items there are."""
        with self._env.read() as transaction:
            entries: int = transaction.stat(self._database("ids"))["entries"]
            return entries

    def use(self) -> Use:
        """What LMDB takes for it at this moment."""
        return self._env.use()

    def sequence(self) -> int:
        """The number of the last commit; 0 before the first."""
        with self._env.read() as transaction:
            return read_sequence(transaction, self._database)

    def copy(self, target: Path) -> None:
        """Copy the collection as it is at this moment into a new folder."""
        self._env.copy(target)

    @property
    def is_open(self) -> bool:
        """Whether a read would begin at once, at this moment; see `Environment.is_open`."""
        return self._env.is_open

    def close(self) -> None:
        """Commit what is queued, and close."""
        self._commits.close()
        self._recent.close()
        self._env.close()

    # -- Inside -----------------------------------------------------------------------------------------

    def _read(self, transaction: lmdb.Transaction, rows: Iterable[int]) -> list[Record | None]:
        get, items = transaction.get, self._items
        # All are read first: to turn from one work to the other for each takes longer.
        stored = [(row, key := row_key(row), get(key, None, items)) for row in rows]
        return [as_record(*each) for each in stored]

    def _commit(self, operations: Sequence[Operation]) -> tuple[Written, Committed]:
        def change(transaction: lmdb.Transaction, *, begin_block: bool) -> tuple[Written, Committed]:
            spaces = read_spaces(transaction, self._database)
            return apply(transaction, self._database, spaces, operations, begin_block=begin_block)

        try:
            return self._env.write(partial(change, begin_block=False), self.turn)
        except DataLossError as error:
            log.error("a write goes into a new block: %s", error)
            return self._env.write(partial(change, begin_block=True), self.turn)

    def _publish(self, committed: Committed) -> None:
        self._recent.follow(committed)
        if self._listener is not None:
            self._listener(committed)
