"""The heaps of a process of many threads."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from embeddb_server.heaps import HEAPS

# Threads that are all there at once, and then what glibc says of its heaps.
SCRIPT = """
import ctypes, sys, threading
from embeddb_server.heaps import limit_heaps
if sys.argv[1] == "limited":
    limit_heaps()
barrier = threading.Barrier(9)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def work():
    libc.malloc(1000)
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
barrier.wait()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def heaps(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_threads_share_few_heaps() -> None:
    assert heaps("as they come") > HEAPS
    assert heaps("limited") <= HEAPS
