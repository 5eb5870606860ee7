"""One collection's environment: items, payloads and features, written in transactions that calls share."""

from __future__ import annotations

import json
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError, UnavailableError
from embeddb.storage import blocks
from embeddb.storage.environment import Environment
from embeddb.storage.records import Delete, Put, Record, Written

__all__ = ["CollectionStore", "Committed"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Operation = Put | Delete

SCAN_ROWS = 16_384
MAX_GROUP_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Committed:
    """What one transaction changed, for the indexes.

    Attributes:
        sequence: the transaction's number, counting from 1.
        added: new rows (n,) int64 and their vectors (n, d) float32, by model name.
        removed: rows that are dead.
    """

    sequence: int
    added: dict[str, tuple[Rows, Floats]]
    removed: Rows


@dataclass(frozen=True)
class SpaceRecord:
    """What a space was filled with."""

    dimension: int
    fingerprint: str


class CollectionStore:
    """A collection's items. Thread-safe.

    Writes that arrive while a transaction is being made durable go into the next one together (group
    commit), so that a durable put does not cost a disk flush of its own. A lone write starts at once.

    Args:
        path: the environment's folder.
        name: for the thread's name.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._env = Environment(path, ("meta", "ids", "items", "payloads", "features", "spaces"))
        self._listener: Callable[[Committed], None] | None = None
        self._queue: list[tuple[Sequence[Operation], Future[list[Written]]]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._committer = threading.Thread(target=self._commit_all, name=f"commit-{name}", daemon=True)
        self._committer.start()

    # -- Writing ----------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[Committed], None]) -> None:
        """Have every commit from now on told to `listener`, in order, before the writes in it return."""
        self._listener = listener

    def write(self, operations: Sequence[Operation]) -> list[Written]:
        """Do the operations in order, all or nothing; they are durable when this returns.

        Raises:
            ResourceExhaustedError: the disk is full; nothing was changed.
            FailedPreconditionError: features do not fit their space, or it is not there.
        """
        done: Future[list[Written]] = Future()
        with self._changed:
            if self._closed:
                raise UnavailableError("the collection is closed")
            self._queue.append((operations, done))
            self._changed.notify()
        return done.result()

    def create_space(self, model: str, dimension: int, fingerprint: str) -> None:
        """Make room for a model's features; nothing happens if it is there with the same fingerprint.

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
        record = json.dumps({"dimension": dimension, "fingerprint": fingerprint}).encode()
        self._env.write(lambda txn: txn.put(model.encode(), record, db=self._env.database("spaces")))

    def drop_space(self, model: str) -> None:
        """Delete a model's features."""

        def change(transaction: lmdb.Transaction) -> None:
            transaction.delete(model.encode(), db=self._env.database("spaces"))
            blocks.drop(transaction, self._env.database("features"), model)

        self._env.write(change)

    # -- Reading ----------------------------------------------------------------------------------------

    def spaces(self) -> dict[str, SpaceRecord]:
        """The spaces by model name."""
        with self._env.read() as transaction:
            return self._spaces(transaction)

    def get(self, ids: Sequence[str]) -> list[Record | None]:
        """The items of ids, in order; None for one that is not there."""
        with self._env.read() as transaction:
            rows = [self._row(transaction, item_id) for item_id in ids]
            return [None if row is None else self._record(transaction, row) for row in rows]

    def by_rows(self, rows: Iterable[int]) -> list[Record | None]:
        """The items of rows, in order; None for a row that is dead."""
        with self._env.read() as transaction:
            return [self._record(transaction, row) for row in rows]

    def rows(self, ids: Sequence[str]) -> list[int | None]:
        """The rows of ids, in order; None for one that is not there."""
        with self._env.read() as transaction:
            return [self._row(transaction, item_id) for item_id in ids]

    def payloads(self, rows: Iterable[int]) -> list[bytes | None]:
        """The payloads of rows, in order; None where there is none."""
        database = self._env.database("payloads")
        with self._env.read() as transaction:
            found = [transaction.get(_key(row), db=database) for row in rows]
            return [None if payload is None else bytes(payload) for payload in found]

    def features(self, model: str, rows: Iterable[int]) -> dict[int, Floats]:
        """The features of rows in a space, (d,) float32 by row; rows without them are left out."""
        with self._env.read() as transaction:
            space = self._spaces(transaction).get(model)
            if space is None:
                return {}
            return blocks.read(transaction, self._env.database("features"), model, rows, space.dimension)

    def scan(self, model: str) -> Iterator[tuple[Rows, Floats]]:
        """Iterate over a space.

        Yields:
            Rows (b,) int64 and their vectors (b, d) float32. Each batch is one moment of the data: a write
            between two of them may show in the later one.
        """
        next_block = 0
        while True:
            rows: list[Rows] = []
            vectors: list[Floats] = []
            with self._env.read() as transaction:
                space = self._spaces(transaction).get(model)
                if space is None:
                    return
                found = blocks.scan(
                    transaction, self._env.database("features"), model, next_block, space.dimension
                )
                for block, block_rows, block_vectors in found:
                    rows.append(block_rows)
                    vectors.append(block_vectors.astype(np.float32))
                    next_block = block + 1
                    if sum(map(len, rows)) >= SCAN_ROWS:
                        break
            if not rows:
                return
            yield np.concatenate(rows), np.concatenate(vectors)

    def list_records(self, *, after: str, limit: int, prefix: str) -> list[Record]:
        """Up to `limit` items in the order of ids, those after `after` that begin with `prefix`."""
        start = max(after.encode() + b"\0" if after else b"", prefix.encode())
        found: list[Record] = []
        with self._env.read() as transaction, transaction.cursor(db=self._env.database("ids")) as cursor:
            if not cursor.set_range(start):
                return found
            for key, value in cursor:
                if len(found) == limit or not bytes(key).startswith(prefix.encode()):
                    break
                record = self._record(transaction, _row(value))
                assert record is not None, "an id's row is there as long as the id"
                found.append(record)
        return found

    def count(self) -> int:
        """How many items there are."""
        with self._env.read() as transaction:
            entries: int = transaction.stat(self._env.database("ids"))["entries"]
            return entries

    def close(self) -> None:
        """Commit what is queued, and close."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._committer.join()
        self._env.close()

    # -- The committing thread --------------------------------------------------------------------------

    def _commit_all(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                group = self._take_group()
            if not group:
                return
            try:
                self._commit(group)
            except Exception as error:
                if len(group) == 1:
                    group[0][1].set_exception(error)
                    continue
                # One write's fault must not fail its neighbours: each gets a transaction of its own.
                for write in group:
                    try:
                        self._commit([write])
                    except Exception as own:
                        write[1].set_exception(own)

    def _take_group(self) -> list[tuple[Sequence[Operation], Future[list[Written]]]]:
        """Take queued writes up to a size that a transaction handles well, at least one."""
        size = taken = 0
        for operations, _ in self._queue:
            size += sum(len(each.payload or b"") for each in operations if isinstance(each, Put))
            if taken and size > MAX_GROUP_BYTES:
                break
            taken += 1
        group, self._queue = self._queue[:taken], self._queue[taken:]
        return group

    def _commit(self, group: Sequence[tuple[Sequence[Operation], Future[list[Written]]]]) -> None:
        operations = [operation for write, _ in group for operation in write]
        written, committed = self._env.write(lambda transaction: self._apply(transaction, operations))
        if self._listener is not None:
            self._listener(committed)
        start = 0
        for write, done in group:
            done.set_result(written[start : start + len(write)])
            start += len(write)

    def _apply(
        self, transaction: lmdb.Transaction, operations: Sequence[Operation]
    ) -> tuple[list[Written], Committed]:
        meta, ids, items = (self._env.database(name) for name in ("meta", "ids", "items"))
        spaces = self._spaces(transaction)
        next_row = _row(transaction.get(b"next_row", db=meta, default=_key(0)))
        sequence = _row(transaction.get(b"sequence", db=meta, default=_key(0))) + 1
        first_new = next_row
        added: dict[str, dict[int, Floats]] = defaultdict(dict)
        written: list[Written] = []
        dead: list[int] = []
        for operation in operations:
            replaced = self._row(transaction, operation.id)
            if replaced is not None:
                dead.append(replaced)
                transaction.delete(_key(replaced), db=items)
                transaction.delete(_key(replaced), db=self._env.database("payloads"))
                for vectors in added.values():
                    vectors.pop(replaced, None)
            if isinstance(operation, Delete):
                transaction.delete(operation.id.encode(), db=ids)
                written.append(Written(None, replaced))
                continue
            for model, vector in operation.features.items():
                _check_fits(model, vector, spaces)
                added[model][next_row] = vector
            transaction.put(operation.id.encode(), _key(next_row), db=ids)
            transaction.put(_key(next_row), Record.of(next_row, operation).to_bytes(), db=items)
            if operation.payload is not None:
                transaction.put(_key(next_row), operation.payload, db=self._env.database("payloads"))
            written.append(Written(next_row, replaced))
            next_row += 1
        features = self._env.database("features")
        for model, space in spaces.items():
            stored_before = [row for row in dead if row < first_new]
            blocks.remove(transaction, features, model, stored_before, space.dimension)
            blocks.append(transaction, features, model, added[model])
        transaction.put(b"next_row", _key(next_row), db=meta)
        transaction.put(b"sequence", _key(sequence), db=meta)
        return written, Committed(sequence, _stacked(added), np.array(dead, np.int64))

    # -- Inside a transaction ---------------------------------------------------------------------------

    def _row(self, transaction: lmdb.Transaction, item_id: str) -> int | None:
        row = transaction.get(item_id.encode(), db=self._env.database("ids"))
        return None if row is None else _row(row)

    def _record(self, transaction: lmdb.Transaction, row: int) -> Record | None:
        stored = transaction.get(_key(row), db=self._env.database("items"))
        return None if stored is None else Record.from_bytes(row, bytes(stored))

    def _spaces(self, transaction: lmdb.Transaction) -> dict[str, SpaceRecord]:
        with transaction.cursor(db=self._env.database("spaces")) as cursor:
            return {bytes(key).decode(): SpaceRecord(**json.loads(bytes(value))) for key, value in cursor}


def _check_fits(model: str, vector: Floats, spaces: dict[str, SpaceRecord]) -> None:
    space = spaces.get(model)
    if space is None or vector.shape != (space.dimension,):
        there = "is not there" if space is None else f"has {space.dimension} dimensions"
        raise FailedPreconditionError(f"features of shape {vector.shape}: the space of {model!r} {there}")


def _stacked(added: dict[str, dict[int, Floats]]) -> dict[str, tuple[Rows, Floats]]:
    return {
        model: (np.array(list(vectors), np.int64), np.stack(list(vectors.values())))
        for model, vectors in added.items()
        if vectors
    }


def _key(row: int) -> bytes:
    return struct.pack(">Q", row)


def _row(key: bytes | memoryview) -> int:
    (row,) = struct.unpack(">Q", key)
    return int(row)
