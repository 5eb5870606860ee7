"""What the services serve: a database, which may still be opening."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embeddb.errors import UnavailableError

if TYPE_CHECKING:
    from embeddb.collection import Collection
    from embeddb.database import Database

__all__ = ["Served", "Service"]


class Served:
    """The database of a server, from the moment it is open.

    Args:
        database: one that is open already; None if `database` will be set.
    """

    def __init__(self, database: Database | None = None) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """The database.

        Raises:
            UnavailableError: it is not open yet.
        """
        if self._database is None:
            raise UnavailableError(
                "the server is starting: it loads its models and opens its collections; try again soon"
            )
        return self._database

    @database.setter
    def database(self, database: Database) -> None:
        self._database = database


class Service:
    """What all services have in common."""

    def __init__(self, served: Served) -> None:
        self._served = served

    @property
    def _database(self) -> Database:
        return self._served.database

    def _collection(self, name: str) -> Collection:
        """The collection of that name; the one called "default" where a request names none."""
        return self._served.database.collection(name or "default")
