"""Where `embeddb put` finds items: files, folders, lists and arrays of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from embeddb.errors import InvalidArgumentError
from embeddb.query import Image, Text
from embeddb_client.cli.lists import LISTS, Entry, read_array, read_list

__all__ = ["Source", "find"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
TEXT_SUFFIXES = frozenset({".txt"})
ARRAY_SUFFIX = ".npy"


@dataclass(frozen=True)
class Source:
    """A file, a text or a vector that is to be an item, and what a list says of it.

    A vector's `file` and `row` say where it is from. `box` is that of the part of an image that is meant, as
    it was written; None for the whole.
    """

    file: Path | None = None
    text: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    row: int = 0
    box: Any = None
    vector: npt.NDArray[Any] | None = field(default=None, compare=False)

    def content(self) -> Image | Text | None:
        """What is stored; nothing beside a vector. An image is only read when its batch is sent.

        Raises:
            InvalidArgumentError: it is a text that cannot be read, or is blank, or the box is none.
        """
        if self.vector is not None:
            return None
        if self.file is None:
            return Text(self.text)
        if self.file.suffix.lower() not in TEXT_SUFFIXES:
            return self._image(self.file)
        try:
            return Text(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError("text", str(self.file), f"cannot be read: {error}") from None

    def _image(self, file: Path) -> Image:
        if self.box is None:
            return Image(file)
        if not isinstance(self.box, list):
            allowed = "must be [left, top, right, bottom] in pixels"
            raise InvalidArgumentError("box", self.box, allowed)
        return Image(file, box=self.box)


def find(
    paths: Sequence[Path], glob: str, ids: Path | None = None, crop: str | None = None
) -> dict[str, Source]:
    """What paths stand for, by id: as a list says, else the part of a file's path below the path given.

    Args:
        glob: which files of folders.
        ids: a list of the ids and metadata of the rows of the one array given.
        crop: the column of lists that holds the boxes which their pictures are cut to.

    Raises:
        InvalidArgumentError: a path or a list is none, two items would have one id, there is nothing, or no
            picture has a box in that column.
    """
    sources: dict[str, Source] = {}
    if ids is not None and [path.suffix.lower() for path in paths] != [ARRAY_SUFFIX]:
        raise InvalidArgumentError("--ids", str(ids), "must go with one .npy file alone")
    for path in paths:
        for item_id, source in _sources(path, glob, ids, crop):
            if sources.setdefault(item_id, source) != source:
                allowed = "occurs twice, for different items; put one of them alone, with --prefix"
                raise InvalidArgumentError("PATHS: the id", item_id, allowed)
    if not sources:
        allowed = f"has no images, .txt files or rows that match --glob {glob!r}"
        raise InvalidArgumentError("PATHS", ", ".join(map(str, paths)), allowed)
    if crop is not None and all(source.box is None for source in sources.values()):
        raise InvalidArgumentError("--crop", crop, "must be a column of a list with boxes of pictures")
    return sources


def _sources(path: Path, glob: str, ids: Path | None, crop: str | None) -> Iterator[tuple[str, Source]]:
    if path.is_dir():
        for file in sorted(path.rglob(glob)):
            if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES | TEXT_SUFFIXES:
                yield file.relative_to(path).as_posix(), Source(file)
    elif not path.exists():
        raise InvalidArgumentError("PATHS", str(path), "there is no such file or folder")
    elif path.suffix.lower() == ARRAY_SUFFIX:
        for row, (item_id, metadata, vector) in enumerate(read_array(path, ids)):
            yield item_id, Source(path, metadata=metadata, row=row, vector=vector)
    elif path.suffix.lower() in LISTS:
        for row, entry in enumerate(read_list(path)):
            yield _listed(path, row, entry, crop)
    else:
        yield path.name, Source(path)


def _listed(path: Path, row: int, entry: Entry, crop: str | None) -> tuple[str, Source]:
    match entry.kind:
        case "path":
            box = None if crop is None else entry.metadata.get(crop)
            return entry.id, Source(path.parent / entry.value, metadata=entry.metadata, box=box)
        case "text":
            return entry.id, Source(text=entry.value, metadata=entry.metadata)
    return entry.id, Source(path, metadata=entry.metadata, row=row, vector=entry.value)
