"""Group commit: writes that arrive while a transaction is being made durable share the next one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate

from embeddb.errors import InternalError, UnavailableError
from embeddb.storage.records import Committed, Delete, Put, Written

__all__ = ["GroupCommit"]

Operation = Put | Delete

MAX_GROUP_BYTES = 64 << 20
FLUSH_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Write:
    operations: Sequence[Operation]
    done: Future[Written] = field(default_factory=Future)

    @property
    def size(self) -> int:
        """About what it takes, in bytes; the rest is small beside it."""
        return sum(
            len(each.payload or b"") + sum(vector.nbytes for vector in each.features.values())
            for each in self.operations
            if isinstance(each, Put)
        )


class GroupCommit:
    """The queue of writes and the thread that commits them. A lone write starts at once.

    Args:
        name: of the thread.
        commit: does operations in one transaction, all or nothing.
        publish: told of every commit, in order, before the writes in it return.
        flush: called a second after a commit that nothing else has flushed; None where commits are durable.
    """

    def __init__(
        self,
        name: str,
        commit: Callable[[Sequence[Operation]], tuple[Written, Committed]],
        publish: Callable[[Committed], None],
        flush: Callable[[], None] | None,
    ) -> None:
        self._commit = commit
        self._publish = publish
        self._flush = flush
        self._unflushed_since: float | None = None
        self._queue: list[_Write] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, operations: Sequence[Operation]) -> Written:
        """Do operations in order, all or nothing; they are committed and published when this returns.

        Raises:
            UnavailableError: it is closed.
            EmbeddbError: what `commit` raises; nothing was changed.
            InternalError: it was committed, and publishing it failed.
        """
        return self.begin(operations).result()

    def begin(self, operations: Sequence[Operation]) -> Future[Written]:
        """Queue operations; the future is done, or raises, when `write` would return.

        Raises:
            UnavailableError: it is closed.
        """
        write = _Write(operations)
        with self._changed:
            if self._closed:
                raise UnavailableError("the collection is closed")
            self._queue.append(write)
            self._changed.notify()
        return write.done

    def close(self) -> None:
        """Commit what is queued, refuse what comes, and return when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            group = self._next_group()
            if not group:
                return
            self._commit_group(group)
            # What was written last, payloads too, is not held until there is more.
            del group
            if self._flush is not None and self._unflushed_since is None:
                self._unflushed_since = time.monotonic()
            self._flush_if_due()

    def _next_group(self) -> list[_Write]:
        """Wait for writes; an empty group means that this is closed and everything is done."""
        while True:
            with self._changed:
                if not self._queue and not self._closed:
                    self._changed.wait(self._seconds_to_flush())
                if self._queue or self._closed:
                    return self._take_group()
            self._flush_if_due()

    def _take_group(self) -> list[_Write]:
        """Take queued writes up to a size that a transaction handles well, at least one."""
        taken = 1 if self._queue else 0
        if len(self._queue) > 1:
            sizes = accumulate(write.size for write in self._queue)
            taken = max(1, sum(size <= MAX_GROUP_BYTES for size in sizes))
        group, self._queue = self._queue[:taken], self._queue[taken:]
        return group

    def _commit_group(self, group: Sequence[_Write]) -> None:
        operations = [operation for write in group for operation in write.operations]
        try:
            written, committed = self._commit(operations)
        except Exception as error:
            if len(group) == 1:
                group[0].done.set_exception(error)
                return
            # One write's fault must not fail its neighbours: each gets a transaction of its own.
            for write in group:
                self._commit_group([write])
            return
        failure = self._published(committed)
        start = 0
        for write in group:
            if failure is None:
                write.done.set_result(written.part(start, start + len(write.operations)))
            else:
                write.done.set_exception(failure)
            start += len(write.operations)

    def _published(self, committed: Committed) -> InternalError | None:
        try:
            self._publish(committed)
        except Exception as error:
            log.exception("commit %d is stored, but the indexes could not follow it", committed.sequence)
            return InternalError(
                f"the write is stored, but searches see it only after the next start: {error}"
            )
        return None

    def _seconds_to_flush(self) -> float | None:
        if self._unflushed_since is None:
            return None
        return max(0.0, self._unflushed_since + FLUSH_SECONDS - time.monotonic())

    def _flush_if_due(self) -> None:
        if self._flush is None or self._seconds_to_flush() != 0.0:
            return
        try:
            self._flush()
        except Exception:
            # The data stays in the page cache, and the next commit's flush tries again.
            log.exception("flushing failed; writes are not safe from a power failure")
        self._unflushed_since = None
