"""The file of contexts: named servers, and the one that is meant where a command names none.

    current = "lab"

    [contexts.lab]
    server = "gpu7:7080"
    collection = "photos"
    api_key_file = "/home/ada/.config/embeddb/lab.key"
    ca = "/home/ada/.config/embeddb/ca.pem"

Keys are in files of their own that nobody else can read. What the environment says (EMBEDDB_API_KEY,
EMBEDDB_TLS, EMBEDDB_TLS_CA, EMBEDDB_TLS_CERTIFICATE, EMBEDDB_TLS_KEY) comes before what a context says.

It lies where the system keeps configuration (~/.config/embeddb/config.toml on Linux), or where the variable
EMBEDDB_CONFIG says.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w
import typer

from embeddb.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from embeddb.query import check_name
from embeddb_client.access import Access, check_address
from embeddb_client.client import DEFAULT_ADDRESS

__all__ = ["Config", "Context"]


@dataclass(frozen=True)
class Context:
    """A server and how it is reached.

    Attributes:
        server: host and port.
        collection: what commands are about by default.
        api_key_file: path of a file with the API key; none if empty.
        tls: whether the connection is encrypted; any of the files below implies it.
        ca: path of the PEM file of who signs the server's certificate; none if empty.
        certificate: of the PEM file of the client's own certificate; none if empty.
        key: of the PEM file of its private key; none if empty.
    """

    server: str = DEFAULT_ADDRESS
    collection: str = "default"
    api_key_file: str = ""
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def access(self) -> Access:
        """What the server is shown, the environment's first.

        Raises:
            InvalidArgumentError: the key's file cannot be read, or others can read it.
        """
        said = os.environ.get
        return Access(
            api_key=said("EMBEDDB_API_KEY", "").strip() or _secret(self.api_key_file),
            tls=_flag("EMBEDDB_TLS", self.tls),
            ca=said("EMBEDDB_TLS_CA") or self.ca or None,
            certificate=said("EMBEDDB_TLS_CERTIFICATE") or self.certificate or None,
            key=said("EMBEDDB_TLS_KEY") or self.key or None,
        )

    def written(self) -> dict[str, Any]:
        """As a table of the file: without what is not said."""
        return {name: value for name, value in asdict(self).items() if value}


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
        contexts = {name: context.written() for name, context in self.contexts.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(f".{os.getpid()}")
        beside.write_text(tomli_w.dumps({"current": self.current, "contexts": contexts}), encoding="utf-8")
        beside.replace(self.path)

    def find(self, server: str | None) -> Context:
        """The context that is meant: by its name, by an address, or the current one for None.

        Raises:
            InvalidArgumentError: it is neither a context's name nor a host and port.
        """
        if server is None:
            return self.contexts[self.current] if self.current else Context()
        if server in self.contexts:
            return self.contexts[server]
        if ":" not in server:
            known = f" (there are: {', '.join(self.contexts)})" if self.contexts else ""
            allowed = f"must be the name of a context{known} or HOST:PORT, such as {server}:7080"
            raise InvalidArgumentError("--server", server, allowed)
        return Context(server)

    def add(self, name: str, context: Context) -> Config:
        """With one context more; the first one becomes the current one.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the name or the address is not one, or a file of it cannot be read.
        """
        check_name("context", name)
        check_name("--collection", context.collection)
        check_address("server", context.server)
        context.access().credentials()
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
    kinds = {each.name: type(each.default) for each in fields(Context)}
    if not isinstance(table, dict) or any(type(value) is not kinds.get(key) for key, value in table.items()):
        words = ", ".join(name for name, kind in kinds.items() if kind is str)
        allowed = f"must be a table of the strings {words}, and of tls, which is true or false"
        # Not the values: one may be a secret that was put here by mistake.
        given = ", ".join(sorted(table)) if isinstance(table, dict) else type(table).__name__
        raise InvalidArgumentError(where, given, allowed)
    return Context(**table)


def _flag(variable: str, otherwise: bool) -> bool:
    """What a variable of the environment says of yes or no."""
    said = os.environ.get(variable, "")
    if said not in ("", "0", "1"):
        raise InvalidArgumentError(variable, said, "must be 1, 0 or empty")
    return said == "1" if said else otherwise


def _secret(path: str) -> str | None:
    """What a file of an API key holds."""
    if not path:
        return None
    try:
        if os.name == "posix" and Path(path).stat().st_mode & 0o077:
            raise InvalidArgumentError("api_key_file", path, f"can be read by others: chmod 600 {path}")
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError("api_key_file", path, f"cannot be read: {error}") from None
