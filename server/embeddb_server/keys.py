"""API keys: who may call, and what; the file holds hashes alone."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from filelock import BaseFileLock, FileLock

from embeddb.errors import AlreadyExistsError, DataLossError, InvalidArgumentError, NotFoundError
from embeddb.query import check_name, check_names

__all__ = ["Key", "KeyFile", "Role", "role_of"]

PREFIX = "edb_"
MIN_SECRET = 32


class Role(IntEnum):
    """What a key is good for; each role may do what those below it may."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True)
class Key:
    """A key as stored.

    Attributes:
        collections: the only ones it opens; every one, and the whole server, if empty.
        created: when, in ISO 8601.
        sha256: of the secret. A secret is 256 random bits, which no slow hash could make harder to guess.
    """

    name: str
    role: Role
    collections: tuple[str, ...]
    created: str
    sha256: str


def role_of(name: str) -> Role:
    """The role of that name, in small letters.

    Raises:
        InvalidArgumentError: there is none.
    """
    if name not in [role.name.lower() for role in Role]:
        allowed = f"must be one of {', '.join(role.name.lower() for role in Role)}"
        raise InvalidArgumentError("key.role", name, allowed)
    return Role[name.upper()]


class KeyFile:
    """The keys of a data folder. What another process changes in the file counts at once. Thread-safe.

    Raises:
        DataLossError: by any method: the file is not one of keys.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / "keys.json"
        # As a string: each call asks for the file's state, and `Path.stat` takes longer to come to the same.
        self._file = os.fspath(self._path)
        self._lock = threading.Lock()
        self._read_at: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def __bool__(self) -> bool:
        """Whether there are any keys."""
        return bool(self._current())

    def find(self, secret: str) -> Key | None:
        """The key with this secret."""
        return self._current().get(_hash(secret))

    def all(self) -> list[Key]:
        """All keys in the order of names."""
        return sorted(self._current().values(), key=lambda key: key.name)

    def add(self, name: str, role: Role, collections: Sequence[str] = (), secret: str | None = None) -> str:
        """Make a key; returns its secret, which nothing keeps.

        Args:
            secret: one that exists elsewhere already; to add the same key again then changes nothing.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the name, that of a collection, or the secret is not one.
        """
        check_name("name", name)
        check_names("collections", collections)
        can_be_sent = secret is None or (secret.isascii() and secret.isprintable())
        if secret is not None and (len(secret) < MIN_SECRET or not can_be_sent):
            allowed = f"must have at least {MIN_SECRET} characters of printable ASCII, all of them random"
            raise InvalidArgumentError("secret", f"{len(secret)} characters", allowed)
        made = secret or PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        new = Key(name, role, tuple(collections), now, _hash(made))
        with self._changing():
            keys = self.all()
            same = next((key for key in keys if key.name == name), None)
            if same is None:
                self._write([*keys, new])
            elif secret is None or replace(same, created=now) != new:
                raise AlreadyExistsError("key", name)
        return made

    def remove(self, name: str) -> None:
        """Make a key worthless.

        Raises:
            NotFoundError: there is none of that name.
        """
        if not self._path.exists():
            raise NotFoundError("key", name)
        with self._changing():
            keys = self.all()
            if all(key.name != name for key in keys):
                raise NotFoundError("key", name, [key.name for key in keys])
            self._write([key for key in keys if key.name != name])

    def _changing(self) -> BaseFileLock:
        """Only one changes the file at a time: two at once could bring back a key that was removed."""
        return FileLock(self._path.with_suffix(".lock"))

    def _current(self) -> dict[str, Key]:
        with self._lock:
            try:
                status = os.stat(self._file)
            except FileNotFoundError:
                self._read_at, self._keys = None, {}
                return self._keys
            # Every write makes a new file, so that the inode tells two writes in one tick of the clock apart.
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._read_at:
                self._keys = {key.sha256: key for key in self._read()}
                self._read_at = version
            return self._keys

    def _read(self) -> list[Key]:
        try:
            return [
                Key(
                    each["name"],
                    Role[each["role"].upper()],
                    tuple(each["collections"]),
                    each["created"],
                    each["sha256"],
                )
                for each in json.loads(self._path.read_text())["keys"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataLossError(f"{self._path} is damaged, so no key counts: {error!r}") from None

    def _write(self, keys: Sequence[Key]) -> None:
        """Replace the file in one step; only its owner can read it."""
        stored = [
            {**vars(key), "role": key.role.name.lower(), "collections": list(key.collections)} for key in keys
        ]
        with tempfile.NamedTemporaryFile("w", dir=self._path.parent, prefix=".keys-", delete=False) as file:
            json.dump({"keys": stored}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self._path)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
