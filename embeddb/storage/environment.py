"""An LMDB environment that grows by itself, and LMDB's errors as ours."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import lmdb

from embeddb.errors import DataLossError, ResourceExhaustedError, UnavailableError
from embeddb.gate import Gate

__all__ = ["DATA_FILE", "Durability", "Environment", "Use", "as_ours", "sync_folder"]

R = TypeVar("R")

# The map is address space, not disk: the file grows as it is written. Growing the map waits for every reader,
# so it is made large enough for that to be rare.
FIRST_MAP_BYTES = 1 << 36
MAX_READERS = 1024
DATA_FILE = "data.mdb"
# How a disk that takes no more says so: full, over the user's quota, or at the largest file allowed.
_NO_ROOM = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Durability(StrEnum):
    """When a write is on the disk.

    SYNC: when it returns; it survives a power failure. ASYNC: within about a second; nothing is lost when the
    process crashes or is killed, but a power failure or a crash of the system may lose the last second's
    writes or damage the file, so that it must be restored from a backup.
    """

    SYNC = "sync"
    ASYNC = "async"


@dataclass(frozen=True)
class Use:
    """What an environment takes.

    Attributes:
        file_bytes: the length of its file, with the pages in it that are free.
        map_bytes: the address space that is set aside for it; it grows by itself when the file has filled it.
        readers: the slots of its table of readers that are taken, of `MAX_READERS`.
    """

    file_bytes: int
    map_bytes: int
    readers: int


class Environment:
    """An open environment. Reads may run on any thread; each write runs on the thread that calls it.

    Args:
        path: a folder.
        databases: the named databases, made if they are not there.
        durability: when a write is on the disk.
        create: whether to make the folder and its files if they are not there.
        readonly: whether to leave writing to the process that has it open.

    Raises:
        DataLossError: the files are damaged or not there.
        ResourceExhaustedError: the disk is full.
    """

    def __init__(
        self,
        path: Path,
        databases: tuple[str, ...],
        durability: Durability = Durability.SYNC,
        *,
        create: bool = False,
        readonly: bool = False,
    ) -> None:
        self._path = path
        self._readonly = readonly
        self._gate = Gate()
        size = _size(path / DATA_FILE)
        if not size and not create:
            # LMDB would take an empty file for a new one, and begin again with nothing.
            raise DataLossError(f"{path / DATA_FILE} is missing or empty; restore a backup")
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(path),
                map_size=max(FIRST_MAP_BYTES, 4 * size),
                max_dbs=len(databases),
                max_readers=MAX_READERS,
                readahead=False,
                sync=durability is Durability.SYNC,
                readonly=readonly,
            )
        except (lmdb.Error, OSError) as error:
            raise as_ours(error, path) from error
        with ExitStack() as undo:
            undo.callback(self._env.close)
            try:
                self._check_length()
                # A process that was killed while it read would keep LMDB from using pages again.
                self._env.reader_check()
                self._databases = {name: self._env.open_db(name.encode()) for name in databases}
            except (lmdb.Error, OSError) as error:
                raise as_ours(error, path) from error
            undo.pop_all()
        if not size:
            for folder in (path, path.parent):
                sync_folder(folder)

    @contextmanager
    def read(self, *, buffers: bool = True) -> Iterator[lmdb.Transaction]:
        """A read transaction: one moment of the data.

        A thread has one at a time: a second one would wait for a growing map, which waits for the first.

        Args:
            buffers: whether values are views of the file's memory, which die with the transaction, or copies:
                of little these are made sooner than views.
        """
        with self._gate:
            try:
                with self._env.begin(buffers=True) if buffers else self._env.begin() as transaction:
                    yield transaction
            except lmdb.Error as error:
                raise as_ours(error, self._path) from error

    def write(
        self, change: Callable[[lmdb.Transaction], R], turn: AbstractContextManager[object] | None = None
    ) -> R:
        """Run a change in a write transaction, all or nothing; with SYNC it is durable when this returns.

        The change is run again, on a larger map, if it did not fit: it must do nothing but change the data.

        Args:
            turn: held while the change runs, and not while it is made durable. It is taken before the
                transaction begins, so that its holder may read. Taken inside, it could be waited for without
                end: a map that grows waits for the transaction, which waits for the turn, whose holder waits
                to read until the map has grown.

        Raises:
            ResourceExhaustedError: the disk is full; nothing was changed.
        """
        aged = False
        while True:
            try:
                with ExitStack() as held:
                    held.enter_context(turn or nullcontext())
                    with self._gate, self._env.begin(write=True) as transaction:
                        result = change(transaction)
                        held.close()
                    return result
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                ours = as_ours(error, self._path)
                if aged or not isinstance(ours, ResourceExhaustedError):
                    raise ours from error
                self._age_free_pages()
                aged = True

    def flush(self) -> None:
        """Bring what was committed to the disk.

        Raises:
            ResourceExhaustedError: the disk is full.
        """
        try:
            with self._gate:
                self._env.sync(True)
        except lmdb.Error as error:
            raise as_ours(error, self._path) from error

    @property
    def is_open(self) -> bool:
        """Whether a read would begin at once, at this moment: the map neither grows nor waits to grow."""
        return self._gate.is_open

    def database(self, name: str) -> lmdb._Database:
        """The handle of a named database."""
        return self._databases[name]

    def use(self) -> Use:
        """What it takes at this moment."""
        with self._gate:
            try:
                info = self._env.info()
            except lmdb.Error as error:
                raise as_ours(error, self._path) from error
            return Use(self._length(), info["map_size"], info["num_readers"])

    def close(self) -> None:
        """Close the environment when the transactions under way have ended."""
        with self._gate.alone():
            if not self._readonly:
                self._env.sync(True)
                # So that the next start need not look at each page; where this fails, it does.
                with suppress(OSError):
                    self._lengthen()
            self._env.close()

    def copy(self, target: Path) -> None:
        """Copy the environment as it is at this moment, without its free pages, into a new folder.

        Raises:
            ResourceExhaustedError: the target's disk is full.
        """
        try:
            target.mkdir(parents=True)
            with self._gate:
                self._env.copy(str(target), compact=True)
            with open(target / DATA_FILE, "rb") as file:
                os.fsync(file.fileno())
            sync_folder(target)
        except (lmdb.Error, OSError) as error:
            raise as_ours(error, target) from error

    def _age_free_pages(self) -> None:
        """Commit next to nothing, if there is room for that.

        LMDB uses a page again two transactions after it was freed: on a full disk, a delete would never make
        room, because the transaction between does not come through.
        """
        with suppress(lmdb.Error), self._gate:
            self._env.reader_check()
            with self._env.begin(write=True) as transaction:
                transaction.put(b"aged", b"")

    def _check_length(self) -> None:
        """Refuse a file that was cut off: to read beyond its end would kill the process.

        LMDB counts pages that a transaction took at the end of the file and gave up again, and does not write
        them: a file that lacks only such pages is sound. Where this process may write, it adds what is
        missing, as zeros; if a large value has lost pages, its checksum tells. Where it may only read, a file
        that lacks pages of a large value is refused.
        """
        file, needed = self._path / DATA_FILE, self._length()
        # Another process may be writing: the file is looked at after what it must hold, for it only grows.
        size = _size(file)
        if size >= needed:
            return
        if self._is_cut_off(file):
            raise DataLossError(f"{file} has {size:,} bytes of {needed:,}; restore a backup")
        if not self._readonly:
            self._lengthen()

    def _is_cut_off(self, file: Path) -> bool:
        """Whether a file that lacks pages lacks one that is used, by py-lmdb's verifier, which needs no LMDB.

        Of a large value the verifier looks at the first page alone. The others are among the pages that it
        found in use, a list that its public function does not give.
        """
        from lmdb.verify import VerifyError, _Verifier  # Which few starts need.

        # Another process may be writing: while this transaction is open, it uses no page again.
        with self._env.begin():
            while True:
                moment = self._env.info()["last_txnid"]
                with open(file, "rb") as opened:
                    size = os.fstat(opened.fileno()).st_size
                    verifier = _Verifier(opened, size)
                    try:
                        found = bool(verifier.verify())
                    except VerifyError:
                        found = True
                    else:
                        found |= self._readonly and any(verifier.live[size // verifier.psize :])
                # What was committed since the file's length was seen may lie behind it.
                if not found or self._env.info()["last_txnid"] == moment:
                    return found

    def _lengthen(self) -> None:
        """Have the file hold all pages that LMDB counts; those it lacks take no room.

        Raises:
            OSError: the system does not let it.
        """
        file, needed = self._path / DATA_FILE, self._length()
        if _size(file) < needed:
            os.truncate(file, needed)

    def _length(self) -> int:
        """How long the file is with all pages that LMDB counts."""
        length: int = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        return length

    def _grow(self) -> None:
        # LMDB may move the map only while this process has no transaction open.
        with self._gate.alone():
            self._env.set_mapsize(2 * self._env.info()["map_size"])


def sync_folder(path: Path) -> None:
    """Bring a folder's entries to the disk: a new file is not safe before its name is."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def as_ours(error: lmdb.Error | OSError, path: Path) -> Exception:
    """What LMDB or the system says of a path, as an error of ours."""
    if any(text in str(error) for text in _NO_ROOM) or _is_short_write(error, path):
        return ResourceExhaustedError(
            f"the disk of {path} is full; nothing was written. Make room and try again"
        )
    if isinstance(error, lmdb.CorruptedError | lmdb.InvalidError | lmdb.PageNotFoundError):
        return DataLossError(f"{path} is damaged: {error}. Restore a backup")
    if "closed/deleted/dropped" in str(error):
        return UnavailableError(f"{path} is closed")
    return UnavailableError(f"LMDB failed on {path}: {error}")


def _is_short_write(error: lmdb.Error | OSError, path: Path) -> bool:
    """Whether the disk took the first part of a write and was full then: LMDB says EIO of that."""
    if os.strerror(errno.EIO) not in str(error):
        return False
    return shutil.disk_usage(path).free < 1 << 20
