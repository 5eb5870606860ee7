"""A server that tells at the end where its processor time went; end_to_end.py starts it.

It prints its address, and after a first line has come in, counts until the second one; what its threads have
used then, it prints as JSON. The threads of the engine have names; those without one belong to libraries, and
have the system's.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

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


def main() -> None:
    index = IndexTime()
    index.watch()
    with embeddb.open(sys.argv[1]) as database:
        server = Server(database)
        server.start()
        print(server.address, flush=True)
        # Once the model is there, so that its start does not count.
        sys.stdin.readline()
        before, index.seconds = processor_seconds(), 0.0
        busy = sum(figures.busy_seconds for figures in database.queues().values())
        print("ready", flush=True)
        sys.stdin.readline()
        stages = {stage: used - before.get(stage, 0.0) for stage, used in processor_seconds().items()}
        stages["commit"] -= index.seconds
        stages["index"] = index.seconds
        busy = sum(figures.busy_seconds for figures in database.queues().values()) - busy
        print(json.dumps({"stages": stages, "model busy": busy}), flush=True)
        server.stop()


if __name__ == "__main__":
    main()
