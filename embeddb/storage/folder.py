"""A data folder on disk, which one process has to itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from embeddb.errors import FailedPreconditionError
from embeddb.storage.catalogue import Catalogue
from embeddb.storage.collection_store import CollectionStore
from embeddb.storage.environment import Durability

__all__ = ["DataFolder"]


class DataFolder:
    """The catalogue and the collections under one path, made if it is not there.

    Args:
        path: the folder.
        durability: when a write to a collection is on the disk; the catalogue's are at once.

    Raises:
        FailedPreconditionError: another process has it open, or its format is newer than this version.
    """

    def __init__(self, path: str | Path, durability: Durability = Durability.SYNC) -> None:
        self._path = Path(path)
        self._durability = durability
        self._path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._path / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FailedPreconditionError(
                f"{self._path} is open in another process; stop it, or talk to it through its server"
            ) from None
        try:
            self.catalogue = Catalogue(self._path / "catalogue")
        except BaseException:
            self._lock.release()
            raise
        self._remove_leftovers()
        self._stores = {
            name: CollectionStore(self._folder(name), name, durability)
            for name in self.catalogue.collections()
        }

    def collection(self, name: str) -> CollectionStore:
        """The store of a collection that is in the catalogue."""
        return self._stores[name]

    def create_collection(self, name: str, record: dict[str, Any]) -> CollectionStore:
        """Make a collection's store and its record."""
        self._stores[name] = CollectionStore(self._folder(name), name, self._durability)
        self.catalogue.put_collection(name, record)
        return self._stores[name]

    def drop_collection(self, name: str) -> None:
        """Delete a collection's record, and then its files."""
        self.catalogue.delete_collection(name)
        self._stores.pop(name).close()
        shutil.rmtree(self._folder(name))

    def bytes_on_disk(self) -> int:
        """What the folder takes, in bytes."""
        files = [file.stat() for file in self._path.rglob("*") if file.is_file()]
        # LMDB's files have holes where nothing was written yet, so blocks count and not lengths.
        return sum(file.st_blocks * 512 for file in files)

    def close(self) -> None:
        """Close everything and let others open the folder."""
        for store in self._stores.values():
            store.close()
        self.catalogue.close()
        self._lock.release()

    def _folder(self, name: str) -> Path:
        return self._path / "collections" / name

    def _remove_leftovers(self) -> None:
        """Delete what a crash in the middle of a create or a drop left: files that no record names."""
        known = self.catalogue.collections()
        for folder in (self._path / "collections").glob("*"):
            if folder.name not in known:
                shutil.rmtree(folder)
