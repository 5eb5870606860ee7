"""A server that tells where its processor time went; end_to_end.py starts it and orders it to.

The threads of the engine have names; those without one belong to libraries, and have the system's.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import orders

import embeddb
from embeddb.index import SpaceIndex
from embeddb_server import Server

# Stages by how the names of their threads begin. What OpenMP starts has the name of the program.
STAGES = {
    "decode-": "decode and prepare",
    "model-": "model",
    "commit-": "commit",
    "grpc": "calls",
    "python": "model",
}
REST = "network and the rest"
BUSY = "model busy"


class IndexTime:
    """What adding to indexes takes, which the thread of the commits does."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self) -> None:
        """Count from now on."""
        update = SpaceIndex.update

        def counted(*arguments: Any, **named: Any) -> None:
            start = time.thread_time()
            update(*arguments, **named)
            self.seconds += time.thread_time() - start

        SpaceIndex.update = counted  # type: ignore[method-assign]


def processor_seconds() -> dict[str, float]:
    """What each stage's threads have used so far."""
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    used: dict[str, float] = defaultdict(float)
    for task in Path("/proc/self/task").iterdir():
        name = named.get(int(task.name)) or (task / "comm").read_text()
        # The name in parentheses may hold spaces; user and system time are 12 and 13 places after it.
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        stage = next((stage for start, stage in STAGES.items() if name.startswith(start)), REST)
        used[stage] += ticks / os.sysconf("SC_CLK_TCK")
    return used


class Watched:
    """A server, and what it has used since it was told to count.

    Args:
        folder: its data.
    """

    def __init__(self, folder: str) -> None:
        self._index = IndexTime()
        self._index.watch()
        self._database = embeddb.open(folder)
        self._server = Server(self._database)
        self._server.start()
        self._before: dict[str, float] = {}

    def address(self) -> str:
        """Where it serves."""
        return self._server.address

    def count(self) -> None:
        """Count from now on."""
        self._before = self._so_far()

    def counted(self) -> dict[str, float]:
        """The seconds since then: of the processors by stage, and how long the model was busy."""
        return {name: used - self._before.get(name, 0.0) for name, used in self._so_far().items()}

    def _so_far(self) -> dict[str, float]:
        used = processor_seconds()
        used["index"] = self._index.seconds
        used["commit"] = used.get("commit", 0.0) - self._index.seconds
        used[BUSY] = sum(figures.busy_seconds for figures in self._database.queues().values())
        return used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="the data")
    parser.add_argument("--orders", type=int, required=True, help="the file descriptor that they come from")
    options = parser.parse_args()
    orders.obey(options.orders, Watched(options.folder))


if __name__ == "__main__":
    main()
