"""The catalogue: which models and collections there are, and the format of the folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.storage.environment import Environment
from embeddb.storage.sealed import seal, unseal

__all__ = ["Catalogue"]

FORMAT = 2
"""The version of everything under a data folder; raised with any change that older code cannot read."""

DROPPED = {"dropped": True}

log = logging.getLogger(__name__)


class Catalogue:
    """Plain records by name. Each change is durable when its call returns.

    Args:
        path: the environment's folder.
        create: whether to make it if it is not there.

    Raises:
        DataLossError: the files are damaged or not there.
        FailedPreconditionError: the folder's format is newer than this version knows.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._env = Environment(path, ("meta", "models", "collections", "choices"), create=create)
        version = self._format()
        if version is None:
            self.upgrade()
        elif version > FORMAT:
            self._env.close()
            raise FailedPreconditionError(
                f"{path.parent} has format {version}, and this embeddb knows up to {FORMAT}; use a newer one"
            )

    def upgrade(self) -> None:
        """Make the folder one of this version's format, before what older ones cannot read is written.

        Nothing else changes: records of format 1 are read as they are.
        """
        # Where it is one already, a start does not wait for the disk, which may be at work on something else.
        if self._format() != FORMAT:
            stored = str(FORMAT).encode()
            self._env.write(lambda txn: txn.put(b"format", stored, db=self._env.database("meta")))

    def _format(self) -> int | None:
        """The version of the folder's format; None where there is none yet."""
        with self._env.read() as transaction:
            stored = transaction.get(b"format", db=self._env.database("meta"))
            return None if stored is None else int(bytes(stored))

    def models(self) -> dict[str, dict[str, Any]]:
        """The records of all models, by name."""
        return self._all("models")

    def put_model(self, name: str, record: dict[str, Any]) -> None:
        """Keep a model's record."""
        self._put("models", name, record)

    def delete_model(self, name: str) -> None:
        """Forget a model."""
        self._delete("models", name)

    def collections(self) -> dict[str, dict[str, Any]]:
        """The records of all collections, by name, without those marked as dropped."""
        records = self._all("collections")
        return {name: record for name, record in records.items() if record != DROPPED}

    def dropped(self) -> list[str]:
        """The collections whose files are to be deleted."""
        return [name for name, record in self._all("collections").items() if record == DROPPED]

    def put_collection(self, name: str, record: dict[str, Any]) -> None:
        """Keep a collection's record."""
        self._put("collections", name, record)

    def mark_dropped(self, name: str) -> None:
        """Keep nothing of a collection but that its files are to be deleted."""
        self._put("collections", name, DROPPED)

    def delete_collection(self, name: str) -> None:
        """Forget a collection."""
        self._delete("collections", name)

    def copy(self, target: Path) -> None:
        """Copy the catalogue into a new folder."""
        self._env.copy(target)

    def close(self) -> None:
        """Close the catalogue."""
        self._env.close()

    @property
    def choices(self) -> MutableMapping[str, dict[str, Any]]:
        """How models run best on the machines that had the folder: a cache, in which damage is a gap."""
        return _Choices(self._env)

    def _all(self, kind: str) -> dict[str, dict[str, Any]]:
        with self._env.read() as transaction, transaction.cursor(db=self._env.database(kind)) as cursor:
            return {
                bytes(key).decode(): json.loads(bytes(unseal(bytes(key), value))) for key, value in cursor
            }

    def _put(self, kind: str, name: str, record: dict[str, Any]) -> None:
        stored = seal(name.encode(), json.dumps(record).encode())
        self._env.write(lambda txn: txn.put(name.encode(), stored, db=self._env.database(kind)))

    def _delete(self, kind: str, name: str) -> None:
        self._env.write(lambda txn: txn.delete(name.encode(), db=self._env.database(kind)))


class _Choices(MutableMapping[str, dict[str, Any]]):
    """Records whose loss costs time and nothing else. Each change is durable when its call returns."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._database = env.database("choices")

    def __getitem__(self, key: str) -> dict[str, Any]:
        encoded = key.encode()
        with self._env.read() as transaction:
            stored = transaction.get(encoded, db=self._database)
            if stored is None:
                raise KeyError(key)
            try:
                choice: dict[str, Any] = json.loads(bytes(unseal(encoded, stored)))
            except DataLossError as error:
                log.warning("a choice is damaged, and made anew: %s", error)
                raise KeyError(key) from None
        return choice

    def __setitem__(self, key: str, choice: dict[str, Any]) -> None:
        encoded = key.encode()
        sealed = seal(encoded, json.dumps(choice).encode())
        self._env.write(lambda txn: txn.put(encoded, sealed, db=self._database))

    def __delitem__(self, key: str) -> None:
        if not self._env.write(lambda txn: txn.delete(key.encode(), db=self._database)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        with self._env.read() as transaction, transaction.cursor(db=self._database) as cursor:
            return iter([bytes(key).decode() for key in cursor.iternext(values=False)])

    def __len__(self) -> int:
        return sum(1 for _ in self)
