"""Garbage of a process that serves."""

from __future__ import annotations

import subprocess
import sys

# A cycle that is made afterwards is found without being asked for, though not before there are many objects.
PROGRAM = """
import gc, weakref
from embeddb_server.garbage import MORE_OBJECTS, collect_rarely, keep_what_is_here

class Node:
    pass

collect_rarely()
keep_what_is_here()
assert gc.get_freeze_count() > 1000
node = Node()
node.itself = node
seen = weakref.ref(node)
del node
few = [[] for _ in range(MORE_OBJECTS // 2)]
assert seen() is not None
many = [[] for _ in range(MORE_OBJECTS)]
assert seen() is None
"""


def test_what_is_there_is_passed_over_and_new_garbage_is_still_found() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
