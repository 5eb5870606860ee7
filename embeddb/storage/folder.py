"""A data folder on disk, which one process has to itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import BaseFileLock, FileLock, Timeout

from embeddb.errors import FailedPreconditionError, UnavailableError
from embeddb.storage.backup import CATALOGUE, COLLECTIONS, write_backup
from embeddb.storage.catalogue import Catalogue
from embeddb.storage.collection_store import CollectionStore
from embeddb.storage.environment import Durability, Use, as_ours
from embeddb.storage.recent import RecordsMemory

__all__ = ["DataFolder", "locked", "of_each"]

T = TypeVar("T")
R = TypeVar("R")

BACKUPS = Path("backups")


class DataFolder:
    """The catalogue and the collections under one path, made if it is not there.

    Args:
        path: the folder.
        durability: when a write to a collection is on the disk; the catalogue's are at once.

    Raises:
        FailedPreconditionError: another process has it open, or its format is newer than this version.
        DataLossError: files are damaged or missing.
    """

    def __init__(self, path: str | Path, durability: Durability = Durability.SYNC) -> None:
        self._path = Path(path)
        self._collections = self._path / COLLECTIONS
        self._durability = durability
        self._stores: dict[str, CollectionStore] = {}
        self._memory = RecordsMemory()
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FailedPreconditionError(f"{self._path} is no folder for data: {error.strerror}") from None
        self._lock = locked(self._path)
        try:
            # Collections come after the catalogue: where they are and it is not, it was lost.
            self.catalogue = Catalogue(self._path / CATALOGUE, create=not self._collections.exists())
        except BaseException:
            self._lock.release()
            raise
        try:
            self.catalogue.upgrade()
            self._finish_drops()
            self._delete_unfinished_copies()
            for name in self.catalogue.collections():
                self._stores[name] = self._store(name)
        except BaseException:
            self.close()
            raise

    def collection(self, name: str) -> CollectionStore:
        """The store of a collection that is in the catalogue."""
        return self._stores[name]

    def create_collection(self, name: str, record: dict[str, Any]) -> CollectionStore:
        """Make a collection's store, and then its record.

        Raises:
            FailedPreconditionError: its folder holds the items of a collection that the catalogue lost.
            ResourceExhaustedError: the disk is full.
        """
        store = self._store(name, create=True)
        with ExitStack() as undo:
            undo.callback(store.close)
            # A crash before the record was kept leaves a folder too, but an empty store in it.
            if store.count():
                raise FailedPreconditionError(
                    f"{self._collections / name} holds items of a collection that the catalogue does not "
                    f"know; move it away, or choose another name"
                )
            self.catalogue.put_collection(name, record)
            undo.pop_all()
        self._stores[name] = store
        return store

    def drop_collection(self, name: str) -> None:
        """Delete a collection, its files and then its record."""
        self.catalogue.mark_dropped(name)
        self._stores.pop(name).close()
        self._finish_drops()

    def backups(self) -> Path:
        """The folder of the backups that are made by name, made if it is not there.

        Raises:
            ResourceExhaustedError: the disk is full.
        """
        folder = self._path / BACKUPS
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise as_ours(error, folder) from error
        return folder

    def backup(self, target: Path, told: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
        """Copy everything into a new folder while it is being used; see `embeddb.storage.backup`.

        Collections may be created and dropped meanwhile.
        """
        stores = dict(self._stores)

        def copy(place: Path, to: Path) -> None:
            if place == CATALOGUE:
                self.catalogue.copy(to)
                return
            store = stores.get(place.name)
            gone = FailedPreconditionError(
                f"collection {place.name!r} came or went while the backup was made; begin it again"
            )
            if store is None:
                raise gone
            try:
                store.copy(to)
            except UnavailableError as error:
                # One that was dropped is closed.
                if self._stores.get(place.name) is store:
                    raise
                raise gone from error

        return write_backup(copy, target, told)

    def use(self) -> dict[str, Use]:
        """What LMDB takes for each collection, by name."""
        return of_each(self._stores, CollectionStore.use)

    def bytes_on_disk(self) -> int:
        """What the folder takes, in bytes."""
        total = 0
        # A collection may be dropped meanwhile: a folder that is gone `walk` passes over.
        for folder, folders, files in os.walk(self._path):
            for name in (*folders, *files):
                with suppress(FileNotFoundError):
                    # LMDB's files have holes where nothing was written yet, so blocks count and not lengths.
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
        return total

    def close(self) -> None:
        """Close everything and let others open the folder."""
        for store in self._stores.values():
            store.close()
        self.catalogue.close()
        self._lock.release()

    def _store(self, name: str, *, create: bool = False) -> CollectionStore:
        return CollectionStore(self._collections / name, name, self._durability, self._memory, create=create)

    def _delete_unfinished_copies(self) -> None:
        """Delete the unfinished backups and the copies to verify that a crash left."""
        for copy in (self._path / BACKUPS).glob(".*"):
            shutil.rmtree(copy, ignore_errors=True)

    def _finish_drops(self) -> None:
        """Delete the collections that are marked as dropped; a crash may have stopped it before."""
        for name in self.catalogue.dropped():
            shutil.rmtree(self._collections / name, ignore_errors=True)
            self.catalogue.delete_collection(name)


def of_each(held: Mapping[str, T], ask: Callable[[T], R]) -> dict[str, R]:
    """What each collection that is held says, in the order of names, but one that is dropped meanwhile.

    Raises:
        UnavailableError: one is closed that is held still.
    """
    said = {}
    for name, collection in sorted(held.items()):
        try:
            said[name] = ask(collection)
        except UnavailableError:
            # One that was dropped is closed.
            if held.get(name) is collection:
                raise
    return said


def locked(path: Path) -> BaseFileLock:
    """The folder's lock, taken.

    Raises:
        FailedPreconditionError: another process has it, or the folder cannot be written to.
    """
    # Whichever thread closes the folder lets go of it.
    lock = FileLock(path / "lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FailedPreconditionError(
            f"{path} is open in another process, or in this one already; close it there, or talk to it "
            f"through its server"
        ) from None
    except OSError as error:
        raise FailedPreconditionError(
            f"{path} is no folder for data: {path / 'lock'} cannot be opened for writing: {error.strerror}"
        ) from None
    return lock
