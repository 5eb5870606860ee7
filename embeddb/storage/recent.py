"""The records that were found last: to read one of LMDB takes ten times as long as to find it here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

from embeddb.storage.records import Committed, Record

__all__ = ["RecentRecords", "RecordsMemory"]

# Enough for the records of 300,000 hits that have little metadata.
MAX_BYTES = 128 << 20
# What Python takes for a record beside its texts: its objects, and its place in the dictionary.
RECORD_BYTES = 400


class RecordsMemory:
    """What the records of several collections may take together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._kept: set[RecentRecords] = set()

    def share(self, kept: RecentRecords) -> None:
        """Count those of one more collection."""
        with self.lock:
            self._kept.add(kept)

    def leave(self, kept: RecentRecords) -> None:
        """Count those of a collection no longer."""
        with self.lock:
            self._kept.discard(kept)

    def make_room(self) -> None:
        """Let go of the older half of whose records take most, as often as it must; under the lock."""
        while sum(kept.bytes for kept in self._kept) > MAX_BYTES:
            max(self._kept, key=lambda kept: kept.bytes).halve()


class RecentRecords:
    """A collection's records by their rows, as they are at one moment of the data. Thread-safe.

    What is stored under a row never changes until the row is dead. So records stay good from one commit to
    the next, but for those that it buried; and they are given only to who reads at the same moment, so that
    what is read and what is found here are of one moment, too.

    Args:
        sequence: the number of the last commit.
        memory: shared with other collections.

    Attributes:
        bytes: about what they take.
    """

    def __init__(self, sequence: int, memory: RecordsMemory) -> None:
        self._sequence = sequence
        self._records: dict[int, Record] = {}
        self.bytes = 0
        self._memory = memory
        self._lock = memory.lock
        memory.share(self)

    def find(self, sequence: int, rows: Iterable[int]) -> list[Record | None]:
        """The records of rows, in order, as they are after a commit; None for each that is not here."""
        with self._lock:
            records = self._records if sequence == self._sequence else {}
            return list(map(records.get, rows))

    def keep(self, sequence: int, records: Iterable[Record]) -> None:
        """Keep records as they are after a commit, if that is still the last one."""
        with self._lock:
            if sequence != self._sequence:
                return
            for record in records:
                if self._records.setdefault(record.row, record) is record:
                    self.bytes += _size(record)
            self._memory.make_room()

    def follow(self, committed: Committed) -> None:
        """Be as things are after a commit."""
        with self._lock:
            if committed.sequence != self._sequence + 1:
                # Nobody told of the one before, and what it buried.
                self._drop(list(self._records))
            self._drop(committed.removed.tolist())
            self._sequence = committed.sequence

    def halve(self) -> None:
        """Let go of the older half; under the memory's lock."""
        self._drop(list(islice(self._records, (len(self._records) + 1) // 2)))

    def close(self) -> None:
        """Let go of all, and be counted no longer."""
        self._memory.leave(self)
        self._records = {}

    def _drop(self, rows: Sequence[int]) -> None:
        for row in rows:
            record = self._records.pop(row, None)
            if record is not None:
                self.bytes -= _size(record)


def _size(record: Record) -> int:
    """About what a record takes, in bytes."""
    return RECORD_BYTES + len(record.id) + len(record.metadata_json) + len(record.predictions_json)
