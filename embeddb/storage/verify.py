"""Verify a data folder end to end, and repair what can be repaired.

First the structure of LMDB's files, by py-lmdb's own verifier, which reads them without LMDB and so cannot
be crashed by them; then every value against its checksum and against the others: id, row, record, payload,
features.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import lmdb
from lmdb.verify import VerifyError
from lmdb.verify import verify as verify_structure

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.query import Finding
from embeddb.storage.backup import CATALOGUE, COLLECTIONS
from embeddb.storage.blocks import Graves, rows_of
from embeddb.storage.catalogue import Catalogue
from embeddb.storage.databases import DATABASES, Databases, open_blocks, read_spaces, row_key, row_of
from embeddb.storage.environment import DATA_FILE, Environment
from embeddb.storage.folder import locked
from embeddb.storage.records import Record, to_bytes
from embeddb.storage.sealed import seal, unseal

__all__ = ["verify", "verify_collection"]


Check = Callable[[str, Path, bool, bool], list[Finding]]


def verify(
    path: str | Path,
    *,
    repair: bool = False,
    also: Check | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Check a data folder that no process has open.

    Args:
        repair: whether to mend what can be mended.
        also: checks what others keep in a collection's folder, before what is stored there is mended: given
            its name, its folder, whether that has to be mended, and `repair`.
        told: is called with how many collections are checked, and how many there are.

    Returns:
        What is wrong, or was before the repair; nothing if the folder is sound.

    Raises:
        FailedPreconditionError: there is no data folder, another process has it open, or its format is newer.
    """
    path = Path(path)
    if not (path / CATALOGUE).exists() and not (path / COLLECTIONS).exists():
        raise FailedPreconditionError(f"{path} is not a data folder")
    lock = locked(path)
    try:
        findings = _structure("catalogue", path / CATALOGUE)
        recorded, dropped = set[str](), set[str]()
        if not findings:
            try:
                recorded, dropped = _names(path / CATALOGUE)
            except DataLossError as error:
                findings.append(Finding("catalogue", str(error), None))
        folders = {folder.name for folder in (path / COLLECTIONS).glob("*")}
        names = sorted((recorded | folders) - dropped)
        for done, name in enumerate(names):
            told(done, len(names))
            if name not in recorded and not findings:
                findings.append(Finding(name, "the catalogue does not know it, and it is left alone", None))
            folder = path / COLLECTIONS / name
            found = verify_collection(name, folder, repair=False)
            to_mend = any(each.repair is not None for each in found)
            findings += found
            # Before the repair: a crash between the two must not leave what knows of rows that are lost.
            findings += also(name, folder, to_mend, repair) if also is not None else []
            if repair and to_mend:
                verify_collection(name, folder, repair=True)
        return findings
    finally:
        lock.release()


def _names(path: Path) -> tuple[set[str], set[str]]:
    """The collections that the catalogue knows, and those that were being dropped."""
    catalogue = Catalogue(path)
    try:
        catalogue.models()
        return set(catalogue.collections()), set(catalogue.dropped())
    finally:
        catalogue.close()


def _structure(where: str, path: Path) -> list[Finding]:
    file = path / DATA_FILE
    if not file.exists():
        return [Finding(where, f"{file} is missing", None)]
    try:
        return [Finding(where, problem, None) for problem in verify_structure(str(file))]
    except VerifyError as error:
        return [Finding(where, str(error), None)]


def verify_collection(name: str, path: Path, *, repair: bool) -> list[Finding]:
    """Check one collection's environment; see `verify`."""
    broken = _structure(name, path)
    if broken:
        return broken
    env = Environment(path, DATABASES)
    try:
        if repair:
            return env.write(
                lambda transaction: _Contents(name, transaction, env.database).check(repair=True)
            )
        with env.read() as transaction:
            return _Contents(name, transaction, env.database).check(repair=False)
    finally:
        env.close()


class _Contents:
    """The values of one collection, checked against one another within one transaction.

    What is found is noted with its repair, a change to the transaction; they are made when all is read.
    """

    def __init__(self, name: str, transaction: lmdb.Transaction, database: Databases) -> None:
        self._name = name
        self._transaction = transaction
        self._database = database
        self._findings: list[Finding] = []
        self._repairs: list[Callable[[], object]] = []
        self._ids: dict[int, str] = {}
        # A row that is marked as dead is taken like one with an item: what came to stand there would be dead.
        self._last_dead = -1

    def check(self, *, repair: bool) -> list[Finding]:
        """Check everything; returns what was found."""
        self._check_records()
        self._check_ids()
        self._check_payloads()
        self._check_features()
        self._check_graves()
        self._check_next_row()
        if repair:
            for change in self._repairs:
                change()
        return self._findings

    def _check_records(self) -> None:
        for key, value in self._values("items"):
            row = row_of(key)
            with self._damage(f"the record in row {row} is damaged", "the item is deleted", "items", key):
                self._ids[row] = Record.from_bytes(row, unseal(key, value)).id

    def _check_ids(self) -> None:
        rows: dict[str, int] = {}
        for key, value in self._values("ids"):
            item_id, row = key.decode(errors="replace"), int.from_bytes(value, "big")
            if self._ids.get(row) == item_id:
                rows[item_id] = row
            else:
                self._found(f"item {item_id!r} has no record", "it is deleted", self._deleting("ids", key))
        for row, item_id in sorted(self._ids.items()):
            if item_id not in rows:
                rows[item_id] = row
                put = self._putting("ids", item_id.encode(), row_key(row))
                self._found(f"item {item_id!r} is not found by its id", "it is from now on", put)
            elif rows[item_id] != row:
                del self._ids[row]
                delete = self._deleting("items", row_key(row))
                self._found(f"item {item_id!r} has another record in row {row}", "it is deleted", delete)

    def _check_payloads(self) -> None:
        for key, value in self._values("payloads"):
            row = row_of(key)
            if row not in self._ids:
                problem = f"there is a payload in row {row}, and no item"
                self._found(problem, "it is deleted", self._deleting("payloads", key))
                continue
            problem = f"the payload of item {self._ids[row]!r} is damaged"
            with self._damage(problem, "it is deleted; put the item again", "payloads", key):
                unseal(key, value)

    def _check_features(self) -> None:
        try:
            spaces = read_spaces(self._transaction, self._database)
        except DataLossError as error:
            self._findings.append(Finding(self._name, f"which spaces it has: {error}", None))
            return
        graves = Graves(self._transaction, self._database("graves"))
        for key, value in self._values("features"):
            model, block = key[:-9].decode(errors="replace"), row_of(key[-8:])
            if model not in spaces:
                problem = f"there are features of model {model!r}, which has no space"
                self._found(problem, "they are deleted", self._deleting("features", key))
                continue
            try:
                rows = open_blocks(self._transaction, self._database, model, spaces[model]).rows(block, value)
            except (DataLossError, ValueError):
                self._lost_block(model, block, key)
                continue
            ghosts = [row for row in rows.tolist() if row not in self._ids]
            if ghosts:
                problem = f"there are features of model {model!r} in rows {ghosts}, and no items"
                self._found(problem, "they are marked as dead", partial(graves.bury, ghosts))
                self._last_dead = max(self._last_dead, *ghosts)

    def _lost_block(self, model: str, block: int, key: bytes) -> None:
        lost = [row for row in rows_of(block) if row in self._ids]
        ids = ", ".join(repr(self._ids[row]) for row in lost)
        problem = f"the features of model {model!r} of items {ids} are damaged"
        self._found(problem, "they are deleted; put the items again", self._deleting("features", key))
        self._repairs += [partial(self._forget_content, row) for row in lost]

    def _forget_content(self, row: int) -> None:
        """Take the hash of its content out of a record, so that the item is embedded when it is put again."""
        key, items = row_key(row), self._database("items")
        record = Record.from_bytes(row, unseal(key, self._transaction.get(key, db=items, default=b"")))
        self._transaction.put(key, seal(key, to_bytes(replace(record, content_hash=b""))), db=items)

    def _check_graves(self) -> None:
        graves = Graves(self._transaction, self._database("graves"))
        for key, _ in self._values("graves"):
            dead = rows_of(row_of(key), graves.mask(row_of(key)))
            self._last_dead = max([self._last_dead, *dead])
            living = [row for row in dead if row in self._ids]
            if living:
                ids = ", ".join(repr(self._ids[row]) for row in living)
                problem = f"items {ids} are marked as dead"
                self._found(problem, "they are alive again", partial(graves.revive, living))

    def _check_next_row(self) -> None:
        meta = self._database("meta")
        next_row = row_of(self._transaction.get(b"next_row", db=meta, default=row_key(0)))
        last = max([self._last_dead, *self._ids])
        if last >= next_row:
            problem = f"the next row is {next_row}, and row {last} is taken"
            put = self._putting("meta", b"next_row", row_key(last + 1))
            self._found(problem, f"the next row is {last + 1}", put)

    def _values(self, name: str) -> Iterator[tuple[bytes, bytes | memoryview]]:
        with self._transaction.cursor(db=self._database(name)) as cursor:
            for key, value in cursor:
                yield bytes(key), value

    @contextmanager
    def _damage(self, problem: str, repair: str, name: str, key: bytes) -> Iterator[None]:
        """Note as damaged what cannot be read inside."""
        try:
            yield
        except (DataLossError, ValueError, KeyError, IndexError, struct.error):
            self._found(problem, repair, self._deleting(name, key))

    def _found(self, problem: str, repair: str, change: Callable[[], object]) -> None:
        self._findings.append(Finding(self._name, problem, repair))
        self._repairs.append(change)

    def _deleting(self, name: str, key: bytes) -> Callable[[], object]:
        return lambda: self._transaction.delete(key, db=self._database(name))

    def _putting(self, name: str, key: bytes, value: bytes) -> Callable[[], object]:
        return lambda: self._transaction.put(key, value, db=self._database(name))
