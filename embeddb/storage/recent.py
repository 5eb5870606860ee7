"""The records that were found last: to read one of LMDB takes ten times as long as to find it here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

from embeddb.storage.records import Committed, Record

__all__ = ["RecentRecords"]

MAX_BYTES = 32 << 20
# What Python takes for a record beside its texts: its objects, and its place in the dictionary.
RECORD_BYTES = 400


class RecentRecords:
    """Records by their rows, as they are at one moment of the data. Thread-safe.

    What is stored under a row never changes until the row is dead. So records stay good from one commit to
    the next, but for those that it buried; and they are given only to who reads at the same moment, so that
    what is read and what is found here are of one moment, too.

    Args:
        sequence: the number of the last commit.
    """

    def __init__(self, sequence: int) -> None:
        self._sequence = sequence
        self._records: dict[int, Record] = {}
        self._bytes = 0
        self._lock = threading.Lock()

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
                    self._bytes += _size(record)
            while self._bytes > MAX_BYTES:
                self._drop(list(islice(self._records, (len(self._records) + 1) // 2)))

    def follow(self, committed: Committed) -> None:
        """Be as things are after a commit."""
        with self._lock:
            if committed.sequence != self._sequence + 1:
                # Nobody told of the one before, and what it buried.
                self._drop(list(self._records))
            self._drop(committed.removed.tolist())
            self._sequence = committed.sequence

    def _drop(self, rows: Sequence[int]) -> None:
        for row in rows:
            record = self._records.pop(row, None)
            if record is not None:
                self._bytes -= _size(record)


def _size(record: Record) -> int:
    """About what a record takes, in bytes."""
    return RECORD_BYTES + len(record.id) + len(record.metadata_json) + len(record.predictions_json)
