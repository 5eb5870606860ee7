"""Lists of items, in CSV and Parquet files, and arrays of vectors.

A list has one column of what an item is: `path`, of a file beside the list, `text` or `vector`, in CSV a JSON
array; a column `id`, which may be missing where there are paths; and all other columns are metadata.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb_client.cli.options import json_or_text

__all__ = ["LISTS", "Entry", "read_array", "read_list"]

KINDS = ("path", "text", "vector")
# Of a text, or of a vector of some hundred thousand numbers; the module's own limit is an eighth of a text.
LARGEST_CELL = 1 << 24
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One row of a list.

    Attributes:
        kind: what the value is: "path", "text" or "vector".
    """

    id: str
    kind: str
    value: Any
    metadata: Mapping[str, Any]


def read_list(path: Path) -> Iterator[Entry]:
    """The rows of a list.

    Raises:
        InvalidArgumentError: it cannot be read, or lacks a column.
        FailedPreconditionError: it is a Parquet file, and pyarrow is missing.
    """
    columns, rows = LISTS[path.suffix.lower()](path)
    kinds = [kind for kind in KINDS if kind in columns]
    if len(kinds) != 1 or ("id" not in columns and kinds != ["path"]):
        allowed = "must have a column path, or columns id and text, or id and vector"
        raise InvalidArgumentError(str(path), ", ".join(columns), allowed)
    (kind,) = kinds
    for number, row in enumerate(rows, start=1):
        if row[kind] is None or (kind != "vector" and not isinstance(row[kind], str)):
            raise InvalidArgumentError(f"{path}, row {number}: {kind}", row[kind], f"must be a {kind}")
        item_id = row.get("id")
        if item_id in ("", None):
            if kind != "path":
                raise InvalidArgumentError(f"{path}, row {number}: id", item_id, "must be an id")
            item_id = row[kind]
        yield Entry(str(item_id), kind, row[kind], _metadata(row, kind))


def read_array(path: Path, ids: Path | None) -> Iterator[tuple[str, Mapping[str, Any], npt.NDArray[Any]]]:
    """The rows of a .npy file, with their ids and metadata: those of a list, or else their numbers.

    Raises:
        InvalidArgumentError: a file cannot be read, or they have not as many rows.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidArgumentError("PATHS", str(path), f"cannot be read as an array: {error}") from None
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        given = f"{array.dtype} of shape {array.shape}"
        raise InvalidArgumentError(str(path), given, "must be numbers of shape (n, d)")
    if ids is None:
        yield from ((str(row), {}, vector) for row, vector in enumerate(array))
        return
    columns, rows = LISTS.get(ids.suffix.lower(), _csv)(ids)
    if "id" not in columns or len(rows) != len(array):
        allowed = f"must have a column id, and {len(array):,} rows like {path}"
        raise InvalidArgumentError("--ids", f"{', '.join(columns)} in {len(rows):,} rows", allowed)
    for row, vector in zip(rows, array, strict=True):
        yield str(row["id"]), _metadata(row), vector


def _metadata(row: Row, kind: str = "id") -> Row:
    return {key: value for key, value in row.items() if key not in ("id", kind) and value is not None}


def _csv(path: Path) -> tuple[Sequence[str], list[Row]]:
    """The columns and the rows of a CSV file; an empty cell is None, and a number is one."""
    listed: list[Row] = []
    csv.field_size_limit(LARGEST_CELL)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            columns = rows.fieldnames or ()
            for row in rows:
                if None in row or None in row.values():
                    allowed = f"must have {len(columns)} cells, like the first line"
                    raise InvalidArgumentError(f"{path}, line {rows.line_num}", list(row.values()), allowed)
                listed.append({key: _cell(key, cell) for key, cell in row.items()})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgumentError("PATHS", str(path), f"cannot be read as a list: {error}") from None
    return columns, listed


def _cell(column: str, cell: str) -> Any:
    if column in ("id", "path", "text"):
        return cell
    return json_or_text(cell) if cell else None


def _parquet(path: Path) -> tuple[Sequence[str], list[Row]]:
    """The columns and the rows of a Parquet file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise FailedPreconditionError(f"{path} needs pyarrow: pip install 'embeddb[parquet]'") from None
    try:
        table = pq.read_table(path)
        rows = table.to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidArgumentError("PATHS", str(path), f"cannot be read as a list: {error}") from None
    return table.column_names, [
        {key: value if key in KINDS else _plain(value) for key, value in row.items()} for row in rows
    ]


def _plain(value: Any) -> Any:
    """A value of a column as JSON can hold it: times as ISO 8601, decimals as numbers, others as they are."""
    match value:
        case date() | clock():
            return value.isoformat()
        case Decimal():
            return float(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {key: _plain(each) for key, each in value.items()}
    return value


LISTS: Mapping[str, Callable[[Path], tuple[Sequence[str], Sequence[Row]]]] = {
    ".csv": _csv,
    ".parquet": _parquet,
}
"""What reads a list, by the end of its file's name."""
