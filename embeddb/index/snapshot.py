"""An approximate index in a file, so that a start need not build it again.

The file is a cache: what storage holds decides. Rows are never reused and their vectors never change, so a
snapshot is brought up to date by what storage has beyond its rows, and by which of them it marks as dead.

    b"embeddb index 6\\n" | 4 bytes: n | n bytes: header, JSON | rows, int64 | sample, float32 | FAISS's own
    format | 4 bytes: CRC-32 of all before

Numbers are little-endian. A few sampled vectors are kept to tell a folder that was put together from others.
"""

from __future__ import annotations

import json
import logging
import os
import struct
from dataclasses import asdict, dataclass
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from embeddb.errors import DataLossError
from embeddb.index.approximate import Approximate
from embeddb.index.tuned import Measured, Point, Tuned
from embeddb.index.vectors import Moment

__all__ = ["Snapshot", "SnapshotFile", "snapshot_damage"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Files of version 3 may have rows that died before storage kept its marks; 4 has no efforts for many hits,
# and 5 none for a thousand, and shortlists that are too short for a hundred.
MAGIC = b"embeddb index 6\n"
CHUNK_BYTES = 4 << 20
CHECKED_BYTES = 1 << 20
BUFFER_BYTES = 256 << 10
# To read a vector from a disk takes a start a few milliseconds.
MAX_SAMPLE = 16

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a file holds.

    Attributes:
        rows: (n,) int64, ascending: the row at each place of the index.
        sampled: (s,) int64: the places of the sample.
        sample: (s, d) float32: their vectors.
        sequence: of the last commit that it may reflect.
    """

    approximate: Approximate
    rows: Rows
    sampled: npt.NDArray[np.int64]
    sample: Floats
    sequence: int

    @classmethod
    def take(cls, approximate: Approximate, moment: Moment, sequence: int) -> Snapshot:
        """A snapshot of an index that nothing is added to meanwhile.

        Args:
            moment: of the space, in which the places of the index are the first.
            sequence: of the last commit that the moment reflects, or of a later one.
        """
        n = len(approximate)
        living = moment.until(n).living_places()
        sampled = living[:: len(living) // MAX_SAMPLE + 1]
        sample = moment.take(sampled)
        return cls(approximate, moment.rows[:n], sampled, sample, sequence)

    def check(self, moment: Moment) -> None:
        """Compare the sample with what storage has at its places now.

        Raises:
            DataLossError: it has other vectors there, or none.
        """
        alive = moment.are_living(self.sampled)
        stored = moment.take(self.sampled[alive])
        known = ~np.isnan(stored).any(axis=1)
        if alive.any() and not known.any():
            raise DataLossError("storage has no vectors in its rows")
        # Features that are stored as float16 come back with as many bits.
        if not np.allclose(stored[known], self.sample[alive][known], rtol=2e-3, atol=1e-4):
            raise DataLossError("the vectors of its rows are not those that storage has")


class SnapshotFile:
    """Where a space's snapshot is kept.

    Args:
        path: of the file; its folder is made when it is written.
        identity: what the space is: plain JSON. A snapshot of another one is not read.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path = path
        self._identity = identity

    def write(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of the one before, all or nothing."""
        approximate = snapshot.approximate
        header = {
            "identity": self._identity,
            "factory": approximate.factory,
            "tuned": asdict(approximate.tuned),
            "sequence": snapshot.sequence,
            "rows": len(snapshot.rows),
            "sampled": snapshot.sampled.tolist(),
            "dimension": snapshot.sample.shape[1],
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            sink = _Checked(file)
            encoded = json.dumps(header).encode()
            sink.write(MAGIC + struct.pack("<I", len(encoded)) + encoded)
            sink.write(snapshot.rows.astype("<i8").tobytes())
            sink.write(snapshot.sample.astype("<f4").tobytes())
            # FAISS's Python wrapper has these classes, of which its type stubs know nothing.
            writer = faiss.PyCallbackIOWriter(sink.write, CHUNK_BYTES)  # type: ignore[attr-defined]
            faiss.write_index(approximate.index, writer)
            file.write(struct.pack("<I", sink.checksum))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def read(self, sequence: int) -> Snapshot | None:
        """The snapshot, or None where there is none that can be used; the log says why.

        Args:
            sequence: of storage's last commit.
        """
        try:
            with self._path.open("rb") as file:
                return self._parse(file, sequence)
        except FileNotFoundError:
            return None
        except (DataLossError, OSError, RuntimeError) as error:  # FAISS raises RuntimeError.
            self.discard(error)
            return None

    def discard(self, reason: Exception) -> None:
        """Delete the snapshot: storage may reach a state in which it would seem to fit."""
        log.warning("%s is of no use, and the index is built anew: %s", self._path, reason)
        self.delete()

    def delete(self) -> None:
        """Delete the snapshot, if there is one."""
        self._path.unlink(missing_ok=True)

    def _parse(self, file: BufferedReader, sequence: int) -> Snapshot:
        if file.read(len(MAGIC)) != MAGIC:
            raise DataLossError("it is none, or of another version")
        _verify(file)
        file.seek(len(MAGIC))
        (length,) = struct.unpack("<I", file.read(4))
        header = json.loads(file.read(length))
        if header["identity"] != self._identity:
            raise DataLossError(f"it is of {header['identity']}, and the space is {self._identity}")
        if header["sequence"] > sequence:
            raise DataLossError(
                f"it reflects commit {header['sequence']:,} of other data: storage is at {sequence:,}"
            )
        rows = np.frombuffer(file.read(8 * header["rows"]), "<i8").astype(np.int64)
        shape = (len(header["sampled"]), header["dimension"])
        sample = np.frombuffer(file.read(4 * shape[0] * shape[1]), "<f4").reshape(shape)
        reader = faiss.PyCallbackIOReader(file.read, CHUNK_BYTES)  # type: ignore[attr-defined]
        # FAISS asks four times for each list, and every call of Python takes it 2 us.
        index = faiss.read_index(faiss.BufferedIOReader(reader, BUFFER_BYTES))  # type: ignore[call-arg]
        tuned = header["tuned"]
        measured = tuple(_measured(each) for each in tuned.pop("measured"))
        return Snapshot(
            Approximate(
                index,
                header["factory"],
                len(rows),
                Tuned(measured, **tuned),
            ),
            rows,
            np.array(header["sampled"], np.int64),
            sample.astype(np.float32),
            header["sequence"],
        )


def snapshot_damage(path: Path) -> str | None:
    """What is wrong with the file of a snapshot; None if it is what was written, be it of any use or not."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return "it is none, or of another version"
            _verify(file)
    except (DataLossError, OSError) as error:
        return str(error)
    return None


def _measured(plain: dict[str, Any]) -> Measured:
    """What `asdict` made plain, again."""
    factor, extra = plain["shortlist"]
    return Measured(plain["k"], tuple(Point(**point) for point in plain["curve"]), (factor, extra))


class _Checked:
    """Writes to a file and sums up what it wrote."""

    def __init__(self, file: BufferedWriter) -> None:
        self._file = file
        self.checksum = 0

    def write(self, data: bytes) -> int:
        self.checksum = crc32(data, self.checksum)
        return self._file.write(data)


def _verify(file: BufferedReader) -> None:
    """Check the whole file against the checksum at its end.

    Raises:
        DataLossError: it does not fit.
    """
    left = os.fstat(file.fileno()).st_size - 4
    file.seek(0)
    checksum = 0
    # One piece of memory that stays in the processor's caches, and not mapped: a disk that fails is an error.
    buffer = memoryview(bytearray(CHECKED_BYTES))
    while left > 0 and (count := file.readinto(buffer[: min(left, CHECKED_BYTES)])):
        checksum = crc32(buffer[:count], checksum)
        left -= count
    if file.read(4) != struct.pack("<I", checksum):
        raise DataLossError("its checksum does not fit: it is damaged or cut short")
