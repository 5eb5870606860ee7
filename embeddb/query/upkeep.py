"""Looking after a database: its backups, what a check of it finds, and who may call its server."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BackupInfo", "Finding", "KeyInfo"]


@dataclass(frozen=True)
class BackupInfo:
    """A backup in the folder `backups/` of a data folder, and the names of the collections that it holds."""

    name: str
    collections: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with stored data.

    Attributes:
        where: "catalogue", or the collection's name.
        problem: what is wrong.
        repair: what a repair does about it; None where only a backup helps.
    """

    where: str
    problem: str
    repair: str | None

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; " + (self.repair or "cannot be repaired: restore a backup")


@dataclass(frozen=True)
class KeyInfo:
    """What is known of an API key; its secret is not.

    Attributes:
        role: "read", "write" or "admin"; each may do what those before it may.
        collections: the only ones it opens; every one, and the whole server, if empty.
        created: when, in ISO 8601.
    """

    name: str
    role: str
    collections: tuple[str, ...]
    created: str
