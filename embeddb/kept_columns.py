"""The columns of filters in a file, so that the first filter after a start need not make them.

The file is a cache: what storage holds decides. Rows are never reused and what stands in them never changes,
so columns are brought up to date by what storage has beyond their last row.

    b"embeddb columns 1\\n" | 4 bytes: CRC-32 of what follows | numpy's NPZ: a ZIP archive of arrays

What items say in a few sampled rows is kept as checksums, to tell a folder that was put together from others.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
from isal.isal_zlib import crc32

from embeddb.errors import DataLossError
from embeddb.search.column import packed, unpacked
from embeddb.search.columns import Columns
from embeddb.storage import CollectionStore, Record

__all__ = ["NAME", "KeptColumns", "columns_damage"]

MAGIC = b"embeddb columns 1\n"
MAX_SAMPLE = 256
NAME = "filters.columns"

log = logging.getLogger(__name__)


class KeptColumns:
    """A collection's columns from one start to the next.

    Args:
        store: the collection's storage; the file is beside it, among the indexes.
    """

    def __init__(self, store: CollectionStore) -> None:
        self._store = store
        self._path = store.path / "indexes" / NAME

    def write(self, columns: Columns, models: Set[str]) -> None:
        """Put columns in the place of those before, all or nothing; where that fails, the log says why.

        Args:
            models: whose predictions they hold.
        """
        new = self._path.with_suffix(".new")
        try:
            about = {
                "models": sorted(models),
                "sequence": self._store.sequence(),
                "sample": self._sample(columns.rows[:: len(columns) // MAX_SAMPLE + 1].tolist()),
            }
            archive = io.BytesIO()
            arrays: dict[str, Any] = {"about": packed(about), **columns.arrays()}
            np.savez(archive, **arrays)
            body = archive.getbuffer()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(MAGIC + struct.pack("<I", crc32(body)))
                file.write(body)
            # Not brought to the disk by force: what a power failure leaves of it is known by its checksum.
            new.replace(self._path)
        except (DataLossError, OSError) as error:
            log.warning("%s: columns could not be kept for the next start: %s", self._path, error)

    def read(self, models: Set[str]) -> Columns | None:
        """The columns, or None where there are none that can be used; the log says why.

        Args:
            models: whose predictions they are to hold.
        """
        try:
            body = _body(self._path)
            with np.load(io.BytesIO(body), allow_pickle=False) as archive:
                about = unpacked(archive["about"])
                if about["models"] != sorted(models):
                    return None
                self._check(about["sequence"], {int(row): sum_ for row, sum_ in about["sample"].items()})
                columns = Columns.restored({name: archive[name] for name in archive.files})
        except FileNotFoundError:
            return None
        except (DataLossError, OSError) as error:
            log.warning("%s is of no use, and columns are made anew: %s", self._path, error)
            self._path.unlink(missing_ok=True)
            return None
        log.info("%s: the columns of %d items", self._path, len(columns))
        return columns

    def _check(self, sequence: int, sample: dict[int, int]) -> None:
        """Compare with what storage has now.

        Raises:
            DataLossError: it is other data.
        """
        if sequence > self._store.sequence():
            raise DataLossError(f"it reflects commit {sequence:,} of other data")
        now = self._sample(list(sample))
        if any(sample[int(row)] != checksum for row, checksum in now.items()):
            raise DataLossError("the items of its rows are not those that storage has")

    def _sample(self, rows: list[int]) -> dict[str, int]:
        """Checksums of what the items of some rows say, of those that live; by row."""
        found = self._store.by_rows(rows)
        return {str(record.row): _checksum(record) for record in found if record is not None}


def columns_damage(path: Path) -> str | None:
    """What is wrong with a file of columns; None if it is what was written, or is not there."""
    try:
        _body(path)
    except FileNotFoundError:
        return None
    except (DataLossError, OSError) as error:
        return str(error)
    return None


def _body(path: Path) -> memoryview:
    """What follows the checksum.

    Raises:
        DataLossError: it does not fit, or this is no such file.
    """
    data = path.read_bytes()
    start = len(MAGIC) + 4
    if data[: len(MAGIC)] != MAGIC:
        raise DataLossError("it is none, or of another version")
    body = memoryview(data)[start:]
    if data[len(MAGIC) : start] != struct.pack("<I", crc32(body)):
        raise DataLossError("its checksum does not fit: it is damaged or cut short")
    return body


def _checksum(record: Record) -> int:
    return crc32(record.predictions_json, crc32(f"{record.modality} {record.metadata_json}".encode()))
