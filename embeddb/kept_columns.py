"""The columns of filters in a file, so that the first filter after a start need not make them.

The file is a cache: what storage holds decides. Rows are never reused and what stands in them never changes,
so columns are brought up to date by what storage has beyond their last row.

    b"embeddb columns 1\\n" | 4 bytes: CRC-32 of what follows | 8 bytes: the last commit that it reflects |
    numpy's NPZ: a ZIP archive of arrays

Numbers are little-endian. What items say in a few sampled rows is kept as checksums, to tell a folder that
was put together from others.
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
HEAD = struct.Struct(f"<{len(MAGIC)}sIQ")
COMMIT = struct.Struct("<Q")

log = logging.getLogger(__name__)


class KeptColumns:
    """A collection's columns from one start to the next.

    Args:
        store: the collection's storage; the file is beside it, among the indexes.
    """

    def __init__(self, store: CollectionStore) -> None:
        self._store = store
        self._path = store.path / "indexes" / NAME
        # Now, and not when they are read: commits since may have come as far as those that were lost.
        self._discard_lost_commits()

    def write(self, columns: Columns, models: Set[str]) -> None:
        """Put columns in the place of those before, all or nothing; where that fails, the log says why.

        Args:
            models: whose predictions they hold.
        """
        # Beside it lie indexes, which are named after models; no model's name begins so.
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            about = {
                "models": sorted(models),
                "sample": self._sample(columns.rows[:: len(columns) // MAX_SAMPLE + 1].tolist()),
            }
            archive = io.BytesIO()
            arrays: dict[str, Any] = {"about": packed(about), **columns.arrays()}
            np.savez(archive, **arrays)
            commit = COMMIT.pack(self._store.sequence())
            checksum = crc32(archive.getbuffer(), crc32(commit))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(MAGIC + struct.pack("<I", checksum) + commit)
                file.write(archive.getbuffer())
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
                self._check(about["sample"])
                columns = Columns.restored({name: archive[name] for name in archive.files})
        except FileNotFoundError:
            return None
        except (DataLossError, OSError) as error:
            self._discard(error)
            return None
        log.info("%s: the columns of %d items", self._path, len(columns))
        return columns

    def _discard_lost_commits(self) -> None:
        """Discard a file that reflects commits which storage has not: a power failure may lose the last."""
        try:
            with self._path.open("rb") as file:
                head = file.read(HEAD.size)
        except OSError:
            # There is none, or the first filter will say what is wrong with it, as with other damage.
            return
        if len(head) == HEAD.size and head.startswith(MAGIC):
            commit = HEAD.unpack(head)[2]
            if commit > self._store.sequence():
                self._discard(DataLossError(f"it reflects commit {commit:,}, which storage has not"))

    def _discard(self, reason: Exception) -> None:
        log.warning("%s is of no use, and columns are made anew: %s", self._path, reason)
        self._path.unlink(missing_ok=True)

    def _check(self, sample: dict[str, int]) -> None:
        """Compare a sample with what storage has now.

        Raises:
            DataLossError: it is other data.
        """
        now = self._sample([int(row) for row in sample])
        if any(sample[row] != checksum for row, checksum in now.items()):
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
    """The archive.

    Raises:
        DataLossError: the checksum does not fit, or this is no such file.
    """
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise DataLossError("it is none, or of another version")
    checked = memoryview(data)[HEAD.size - COMMIT.size :]
    if len(data) < HEAD.size or HEAD.unpack_from(data)[1] != crc32(checked):
        raise DataLossError("its checksum does not fit: it is damaged or cut short")
    return checked[COMMIT.size :]


def _checksum(record: Record) -> int:
    return crc32(record.predictions_json, crc32(f"{record.modality} {record.metadata_json}".encode()))
