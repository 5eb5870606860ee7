"""An LMDB environment that grows by itself, and LMDB's errors as ours."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, TypeVar

import lmdb

from embeddb.errors import DataLossError, InvalidArgumentError, ResourceExhaustedError, UnavailableError

__all__ = ["Durability", "Environment"]

R = TypeVar("R")

# The map is address space, not disk: the file grows as it is written.
FIRST_MAP_BYTES = 1 << 28
MAX_READERS = 1024


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

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise InvalidArgumentError("durability", value, f"must be one of {', '.join(cls)}")


class Environment:
    """An open environment. Reads may run on any thread; each write runs on the thread that calls it.

    Args:
        path: a folder, made if it is not there.
        databases: the named databases, made if they are not there.
        durability: when a write is on the disk.

    Raises:
        DataLossError: the files are damaged.
        ResourceExhaustedError: the disk is full.
    """

    def __init__(
        self, path: Path, databases: tuple[str, ...], durability: Durability = Durability.SYNC
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        file = path / "data.mdb"
        size = file.stat().st_size if file.exists() else 0
        try:
            self._env = lmdb.open(
                str(path),
                map_size=max(FIRST_MAP_BYTES, 2 * size),
                max_dbs=len(databases),
                max_readers=MAX_READERS,
                readahead=False,
                sync=durability is Durability.SYNC,
            )
            self._databases = {name: self._env.open_db(name.encode()) for name in databases}
        except lmdb.Error as error:
            raise _as_ours(error, path) from error
        self._path = path
        self._gate = _Gate()

    @contextmanager
    def read(self) -> Iterator[lmdb.Transaction]:
        """A read transaction: one moment of the data. What its buffers point to dies with it.

        A thread has one at a time: a second one would wait for a growing map, which waits for the first.
        """
        with self._gate.shared():
            try:
                with self._env.begin(buffers=True) as transaction:
                    yield transaction
            except lmdb.Error as error:
                raise _as_ours(error, self._path) from error

    def write(self, change: Callable[[lmdb.Transaction], R]) -> R:
        """Run a change in a write transaction, all or nothing; with SYNC it is durable when this returns.

        The change is run again, on a larger map, if it did not fit: it must do nothing but change the data.

        Raises:
            ResourceExhaustedError: the disk is full; nothing was changed.
        """
        while True:
            try:
                with self._gate.shared(), self._env.begin(write=True) as transaction:
                    return change(transaction)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise _as_ours(error, self._path) from error

    def flush(self) -> None:
        """Bring what was committed to the disk.

        Raises:
            ResourceExhaustedError: the disk is full.
        """
        try:
            with self._gate.shared():
                self._env.sync(True)
        except lmdb.Error as error:
            raise _as_ours(error, self._path) from error

    def database(self, name: str) -> lmdb._Database:
        """The handle of a named database."""
        return self._databases[name]

    def close(self) -> None:
        """Close the environment when the transactions under way have ended."""
        with self._gate.exclusive():
            self._env.sync(True)
            self._env.close()

    def _grow(self) -> None:
        # LMDB may move the map only while this process has no transaction open.
        with self._gate.exclusive():
            self._env.set_mapsize(2 * self._env.info()["map_size"])


class _Gate:
    """Many share it, or one has it alone; whoever waits to be alone is not overtaken by newcomers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._closed = True
            while self._inside:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


def _as_ours(error: lmdb.Error, path: Path) -> Exception:
    if any(text in str(error) for text in _NO_ROOM):
        return ResourceExhaustedError(
            f"the disk of {path} is full; nothing was written. Make room and try again"
        )
    if isinstance(error, lmdb.CorruptedError | lmdb.InvalidError | lmdb.PageNotFoundError | lmdb.PanicError):
        return DataLossError(f"{path} is damaged: {error}")
    return UnavailableError(f"LMDB failed on {path}: {error}")
