"""Long slices of time for threads with thousands of items to get through: others need not wait for a core.

Where more threads have work than there are cores, Linux lets each run for a slice of time, 1.4 ms on two
cores. From 6.12 on, a thread that wakes takes the core of one whose slice is longer than its own at once, and
does not wait until that slice is over. A longer slice is no larger share of the processor, and needs no
privilege.

Python has no function for it, and glibc only from 2.41 on, so these are calls of the system by their numbers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["LONG_SECONDS", "long_slice", "slice_seconds"]

# The longest that there is.
LONG_SECONDS = 0.1
# Of `sched_setattr` and `sched_getattr`.
_NUMBERS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}
_SET, _GET = _NUMBERS.get(platform.machine(), (0, 0)) if sys.platform == "linux" else (0, 0)
_THIS_THREAD = 0
# One that keeps Python's lock: who lets go of it waits for it again.
_system_call = ctypes.PyDLL(None).syscall


class _Attributes(ctypes.Structure):
    """How a thread is scheduled: `struct sched_attr` of Linux, `sched_setattr(2)`."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        # Of threads without any priority their slice, in nanoseconds.
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


@contextmanager
def long_slice() -> Iterator[None]:
    """Within the block this thread has a slice of `LONG_SECONDS`, and the one from before after it.

    Where the system has no such thing, or has given this thread a priority, all stays as it is: what is
    computed is the same, only that others may wait longer for a core.
    """
    before = _attributes()
    changed = before is not None and _set(before, round(LONG_SECONDS * 1e9))
    try:
        yield
    finally:
        if before is not None and changed:
            _set(before, before.runtime)


def slice_seconds() -> float | None:
    """How long this thread's slice is; None where the system does not tell, as before Linux 6.12."""
    attributes = _attributes()
    return attributes.runtime / 1e9 if attributes is not None and attributes.runtime else None


def _attributes() -> _Attributes | None:
    """How this thread is scheduled; None where that is not as one of many equals, or is not known."""
    attributes = _Attributes()
    size = ctypes.sizeof(attributes)
    if not _GET or _system_call(_GET, _THIS_THREAD, ctypes.byref(attributes), size, 0):
        return None
    return attributes if attributes.policy == os.SCHED_OTHER else None


def _set(attributes: _Attributes, nanoseconds: int) -> bool:
    """Give this thread a slice, and leave all else as the attributes have it; whether the system did so."""
    wanted = _Attributes.from_buffer_copy(attributes)
    wanted.runtime = nanoseconds
    return not _system_call(_SET, _THIS_THREAD, ctypes.byref(wanted), 0)
