"""Reading a spec: plain data with the key "loader" and that loader's own keys, every mistake named."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from embeddb.errors import InvalidArgumentError, PermissionDeniedError

__all__ = ["Spec", "model_file"]

T = TypeVar("T")


class Spec:
    """A spec being read: each key is taken once, with its type; `done` refuses keys that nobody took."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._rest = dict(spec)

    def take(self, key: str, kind: type[T], default: T) -> T:
        """Take an optional key.

        Raises:
            InvalidArgumentError: its value is not of the kind.
        """
        return self.require(key, kind) if key in self._rest else default

    def require(self, key: str, kind: type[T]) -> T:
        """Take a key that must be there.

        Raises:
            InvalidArgumentError: it is not there, or its value is not of the kind.
        """
        value = self._rest.pop(key, None)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InvalidArgumentError(f"spec.{key}", value, f"must be given, as {kind.__name__}")
        return value

    def choose(self, key: str, options: Sequence[str], default: str) -> str:
        """Take an optional key whose value is one of a few."""
        value = self.take(key, str, default)
        if value not in options:
            raise InvalidArgumentError(f"spec.{key}", value, f"must be one of {', '.join(options)}")
        return value

    def done(self, allowed: str) -> None:
        """Refuse the keys that are left.

        Raises:
            InvalidArgumentError: there are some; `allowed` says which there may be.
        """
        for key, value in self._rest.items():
            raise InvalidArgumentError(f"spec.{key}", value, f"is not a key of this loader; it has {allowed}")


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
    if path.startswith("package:"):
        package, _, inside = path.removeprefix("package:").partition("/")
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        if found is None or found.origin is None:
            raise InvalidArgumentError(field, path, f"the package {package} is not installed")
        root = Path(found.origin).parent
    elif folder is None:
        raise PermissionDeniedError(
            f"{field}: {path!r} given, but the server has no model folder; it needs --models DIR"
        )
    else:
        root, inside = folder, path
    root = root.resolve()
    file = (root / inside).resolve()
    if not file.is_relative_to(root):
        raise PermissionDeniedError(f"{field}: {path!r} leads out of the model folder")
    if not file.is_file():
        raise InvalidArgumentError(field, path, "there is no such file")
    return file
