"""Reading a spec: plain data with the key "loader" and that loader's own keys, every mistake named."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from embeddb.errors import InvalidArgumentError, PermissionDeniedError

__all__ = ["Spec", "model_file", "model_folder"]

T = TypeVar("T")
D = TypeVar("D")


class Spec:
    """A spec being read: each key is taken once, with its type; `done` refuses keys that nobody took.

    Args:
        spec: the plain data.
        field: its name, for the errors.
    """

    def __init__(self, spec: Mapping[str, Any], field: str = "spec") -> None:
        self.field = field
        self._rest = dict(spec)
        self._taken: list[str] = []

    def take(self, key: str, kind: type[T], default: D) -> T | D:
        """Take an optional key.

        Raises:
            InvalidArgumentError: its value is not of the kind.
        """
        if key in self._rest:
            return self.require(key, kind)
        self._taken.append(key)
        return default

    def require(self, key: str, kind: type[T]) -> T:
        """Take a key that must be there.

        Raises:
            InvalidArgumentError: it is not there, or its value is not of the kind.
        """
        self._taken.append(key)
        if key not in self._rest:
            raise InvalidArgumentError(f"{self.field}.{key}", "nothing", f"must be given, as {_shown(kind)}")
        value = self._rest.pop(key)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
            raise InvalidArgumentError(f"{self.field}.{key}", value, f"must be {_shown(kind)}")
        return value

    def choose(self, key: str, options: Sequence[str], default: str) -> str:
        """Take an optional key whose value is one of a few.

        Raises:
            InvalidArgumentError: it is another.
        """
        value = self.take(key, str, default)
        if value not in options:
            allowed = f"must be one of {', '.join(options)}"
            raise InvalidArgumentError(f"{self.field}.{key}", value, allowed)
        return value

    def done(self) -> None:
        """Refuse the keys that are left.

        Raises:
            InvalidArgumentError: there are some; the message lists those that there may be.
        """
        for key, value in self._rest.items():
            allowed = f"the keys are {', '.join(self._taken)}" if self._taken else "there are no keys"
            raise InvalidArgumentError(f"{self.field}.{key}", value, f"is not a key here; {allowed}")


def _shown(kind: type) -> str:
    """A type in the words of JSON."""
    words = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(kind, "a list" if kind is list else "an object")


def model_file(field: str, path: str, folder: Path | None) -> Path:
    """Find a model file: inside the server's model folder, or inside an installed package.

    Args:
        field: the spec's field, for the errors.
        path: relative to the folder, or "package:NAME/PATH".
        folder: the server's model folder; None if it has none.

    Raises:
        PermissionDeniedError: the path leads out of the folder, or there is no folder.
        InvalidArgumentError: there is no such file or package.
    """
    file = _inside(field, path, folder)
    # Unlike Path.is_file, this takes a name that is too long for one that is not there.
    if not os.path.isfile(file):
        raise InvalidArgumentError(field, path, "there is no such file")
    return file


def model_folder(field: str, path: str, folder: Path | None) -> Path:
    """Find a model that is a folder of files; as `model_file` otherwise."""
    found = _inside(field, path, folder)
    if not os.path.isdir(found):
        raise InvalidArgumentError(field, path, "there is no such folder")
    return found


def _inside(field: str, path: str, folder: Path | None) -> Path:
    if path.startswith("package:"):
        package, _, inside = path.removeprefix("package:").partition("/")
        root = _package_folder(field, package)
    elif folder is None:
        raise PermissionDeniedError(
            f"{field}: {path!r} given, but the server has no model folder; it needs --models DIR"
        )
    else:
        root, inside = folder, path
    try:
        # Symbolic links are followed before the check, so that none leads out.
        root, found = root.resolve(), (root / inside).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidArgumentError(field, path, f"is not a path: {error}") from None
    if not found.is_relative_to(root):
        raise PermissionDeniedError(f"{field}: {path!r} leads out of the model folder")
    return found


def _package_folder(field: str, package: str) -> Path:
    # Finding a top-level package does not run it.
    found = importlib.util.find_spec(package) if package.isidentifier() and package != "__main__" else None
    if found is None or not found.submodule_search_locations:
        raise InvalidArgumentError(field, package, "there is no installed package of that name")
    return Path(found.submodule_search_locations[0])
