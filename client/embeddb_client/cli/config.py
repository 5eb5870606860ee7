"""The file of contexts: named servers, and the one that is meant where a command names none.

    current = "lab"

    [contexts.lab]
    server = "gpu7:7080"
    collection = "photos"

It lies where the system keeps configuration (~/.config/embeddb/config.toml on Linux), or where the variable
EMBEDDB_CONFIG says.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w
import typer

from embeddb.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from embeddb.query import check_name
from embeddb_client.client import DEFAULT_ADDRESS

__all__ = ["Config", "Context"]


@dataclass(frozen=True)
class Context:
    """A server, by host and port, and the collection that commands are about unless told."""

    server: str = DEFAULT_ADDRESS
    collection: str = "default"


@dataclass(frozen=True)
class Config:
    """What the file says. A change gives a new one, which `write` puts in the file's place."""

    path: Path
    current: str = ""
    contexts: Mapping[str, Context] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Config:
        """The file's content; without a file, no contexts.

        Raises:
            InvalidArgumentError: the file cannot be read, or says what is not understood.
        """
        path = Path(os.environ.get("EMBEDDB_CONFIG") or Path(typer.get_app_dir("embeddb"), "config.toml"))
        try:
            written = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError) as error:
            raise InvalidArgumentError("config", str(path), f"cannot be read: {error}") from None
        return _parsed(path, written)

    def write(self) -> None:
        """Put this in the file's place, as a whole or not at all."""
        contexts = {name: asdict(context) for name, context in self.contexts.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(f".{os.getpid()}")
        beside.write_text(tomli_w.dumps({"current": self.current, "contexts": contexts}), encoding="utf-8")
        beside.replace(self.path)

    def find(self, server: str | None) -> Context:
        """The context that is meant: by its name, by an address, or the current one for None.

        Raises:
            NotFoundError: it is neither a context's name nor a host and port.
        """
        if server is None:
            return self.contexts[self.current] if self.current else Context()
        if server in self.contexts:
            return self.contexts[server]
        if ":" not in server:
            raise NotFoundError("context", server, [*self.contexts, "any HOST:PORT"])
        return Context(server)

    def add(self, name: str, context: Context) -> Config:
        """With one context more; the first one becomes the current one.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the name or the address is not one.
        """
        check_name("context", name)
        check_name("--collection", context.collection)
        if ":" not in context.server:
            raise InvalidArgumentError("server", context.server, "must be HOST:PORT")
        if name in self.contexts:
            raise AlreadyExistsError("context", name)
        return replace(self, current=self.current or name, contexts={**self.contexts, name: context})

    def use(self, name: str) -> Config:
        """With another current context.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._check(name)
        return replace(self, current=name)

    def without(self, name: str) -> Config:
        """With one context less; if it was the current one, there is none.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._check(name)
        rest = {other: context for other, context in self.contexts.items() if other != name}
        return replace(self, current="" if self.current == name else self.current, contexts=rest)

    def _check(self, name: str) -> None:
        if name not in self.contexts:
            raise NotFoundError("context", name, list(self.contexts))


def _parsed(path: Path, written: Mapping[str, Any]) -> Config:
    unknown = sorted(written.keys() - {"current", "contexts"})
    tables = written.get("contexts", {})
    if unknown or not isinstance(tables, dict):
        raise InvalidArgumentError(str(path), unknown, "must hold `current` and tables [contexts.NAME]")
    contexts = {name: _context(f"{path}: contexts.{name}", table) for name, table in tables.items()}
    current = written.get("current", "")
    if current and current not in contexts:
        raise InvalidArgumentError(f"{path}: current", current, f"must be one of {sorted(contexts)}")
    return Config(path, current, contexts)


def _context(where: str, table: Any) -> Context:
    keys = {"server", "collection"}
    understood = isinstance(table, dict) and table.keys() <= keys
    if not understood or not all(isinstance(value, str) for value in table.values()):
        raise InvalidArgumentError(where, table, "must be a table of the strings `server` and `collection`")
    return Context(**table)
