"""Where `embeddb put` finds items: files, folders, and lists in CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embeddb.errors import InvalidArgumentError
from embeddb.query import Image, Text
from embeddb_client.cli.options import json_or_text

__all__ = ["Source", "find"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
TEXT_SUFFIXES = frozenset({".txt"})
LIST_SUFFIX = ".csv"


@dataclass(frozen=True)
class Source:
    """A file or a text that is to be an item, and what a list says of it."""

    file: Path | None = None
    text: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def content(self) -> Image | Text:
        """What is stored. An image is only read when its batch is sent.

        Raises:
            InvalidArgumentError: it is a text that cannot be read, or is blank.
        """
        if self.file is None:
            return Text(self.text)
        if self.file.suffix.lower() not in TEXT_SUFFIXES:
            return Image(self.file)
        try:
            return Text(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError("text", str(self.file), f"cannot be read: {error}") from None


def find(paths: Sequence[Path], glob: str) -> dict[str, Source]:
    """What paths stand for, by id: as a list says, else the part of a file's path below the path given.

    Raises:
        InvalidArgumentError: a path or a list is none, two items would have one id, or there is nothing.
    """
    sources: dict[str, Source] = {}
    for path in paths:
        for item_id, source in _sources(path, glob):
            if sources.setdefault(item_id, source) != source:
                allowed = "occurs twice, for different items; put one of them alone, with --prefix"
                raise InvalidArgumentError("PATHS: the id", item_id, allowed)
    if not sources:
        allowed = f"has no images, .txt files or rows that match --glob {glob!r}"
        raise InvalidArgumentError("PATHS", ", ".join(map(str, paths)), allowed)
    return sources


def _sources(path: Path, glob: str) -> Iterator[tuple[str, Source]]:
    if path.is_dir():
        for file in sorted(path.rglob(glob)):
            if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES | TEXT_SUFFIXES:
                yield file.relative_to(path).as_posix(), Source(file)
    elif not path.exists():
        raise InvalidArgumentError("PATHS", str(path), "there is no such file or folder")
    elif path.suffix.lower() == LIST_SUFFIX:
        yield from _rows(path)
    else:
        yield path.name, Source(path)


def _rows(path: Path) -> Iterator[tuple[str, Source]]:
    """The rows of a list: `path` beside the list, or `text`; `id`, or else the path; the rest is metadata."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            columns = set(rows.fieldnames or ())
            if ("path" in columns) == ("text" in columns) or not columns & {"id", "path"}:
                allowed = "must have a column path, or columns id and text, in its first line"
                raise InvalidArgumentError(str(path), ", ".join(rows.fieldnames or ()), allowed)
            for row in rows:
                if None in row or None in row.values():
                    allowed = f"must have {len(columns)} cells, like the first line"
                    raise InvalidArgumentError(f"{path}, line {rows.line_num}", list(row.values()), allowed)
                yield _row(path.parent, row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgumentError("PATHS", str(path), f"cannot be read as a list: {error}") from None


def _row(folder: Path, row: Mapping[str, str]) -> tuple[str, Source]:
    metadata = {
        key: json_or_text(cell) for key, cell in row.items() if cell and key not in ("id", "path", "text")
    }
    if "path" in row:
        return row.get("id") or row["path"], Source(folder / row["path"], metadata=metadata)
    return row["id"], Source(text=row["text"], metadata=metadata)
