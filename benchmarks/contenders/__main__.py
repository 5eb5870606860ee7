"""One contender in a process of its own, which measures itself as it is ordered to.

`search_service.py` starts it, and sends orders: the name of a method of `Measured`, and its arguments.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path

import clock
import machine
import numpy as np
import orders

from contenders import CONTENDERS, Client, Contender, Floats, insert_all
from contenders.effort import BATCH, choose_effort, found_share
from contenders.tasks import AsyncClient, OnLoop

CLIENTS = (1, 8, 32)
REOPENINGS = 5
Figures = dict[str, float]


class Measured:
    """A contender and what it is measured with.

    Args:
        contender: not opened yet.
        folder: where it keeps its own.
        data: has vectors.npy, queries.npy and truth.npy, and timed.npy: what is asked while time is taken.
    """

    def __init__(self, contender: Contender, folder: Path, data: Path) -> None:
        self._contender = contender
        self._folder = folder
        # Mapped, so that they do not count as memory of the contenders in this process.
        self._vectors = np.load(data / "vectors.npy", mmap_mode="r")
        self._timed = np.load(data / "timed.npy", mmap_mode="r").view(np.ndarray)
        self._queries, self._truth = np.load(data / "queries.npy"), np.load(data / "truth.npy")
        # No question is asked again before all others were: what it found may still be in memory.
        self._numbers = itertools.count()
        self._connected: dict[str, Sequence[Client]] = {}

    def fill(self) -> Figures:
        """Insert everything, and wait until the contender has made its index of it."""
        self._contender.open(self._folder)
        self._contender.create(self._vectors.shape[1])
        start = time.perf_counter()
        insert_all(self._contender, self._vectors)
        inserted = time.perf_counter()
        self._contender.build()
        settled = max(time.perf_counter(), machine.wait_until_idle(self._contender.pid))
        return {
            "inserts/s": len(self._vectors) / (inserted - start),
            "index after that, s": settled - inserted,
            "inserted and indexed/s": len(self._vectors) / (settled - start),
        }

    def connect(self) -> tuple[Figures, Sequence[str]]:
        """Look with the least effort that finds enough; with the greatest, if none does.

        Returns:
            The share that it finds, and the ways to connect.
        """
        share = choose_effort(self._contender, self._queries, self._truth)
        for way, connect in self._contender.clients().items():
            self._connected[way] = [connect() for _ in range(max(CLIENTS))]
        return {"recall@10": share}, list(self._connected)

    def waits(self, way: str, seconds: float) -> Figures:
        """What one caller waits."""
        waited = clock.waits(self._lone(self._connected[way][0]), seconds)
        return dict(zip(("p50, ms", "p99, ms"), waited, strict=True))

    def rate(self, way: str, seconds: float, count: int) -> Figures:
        """What several callers get: threads of this process, or tasks of one event loop in it."""
        clients = self._connected[way][:count]
        first = clients[0]
        if isinstance(first, OnLoop):
            tasks = [self._task(client.awaited) for client in clients if isinstance(client, OnLoop)]
            got = first.loop.run(clock.rate_of_tasks(tasks, seconds))
        else:
            got = clock.rate([self._lone(client) for client in clients], seconds)
        return {f"queries/s, {count} client{'s' * (count > 1)}": got}

    def batches(self, way: str, seconds: float) -> Figures:
        """What one caller gets who asks many questions at once."""
        client, queries = self._connected[way][0], self._timed
        starts = range(0, len(queries) - BATCH + 1, BATCH)

        def batch(_: int) -> int:
            return len(client.search(queries[starts[next(self._numbers) % len(starts)] :][:BATCH]))

        return {f"queries/s, batches of {BATCH}": clock.rate([batch], seconds)}

    def reopen(self) -> Figures:
        """End and begin again, several times, as hard as it looked before; that is the end of it."""
        for client in (client for clients in self._connected.values() for client in clients):
            client.close()
        taken = [self._reopened() for _ in range(REOPENINGS)]
        figures = {
            "disk, MB": machine.disk_mb(self._folder),
            "reopen to the first answer, s": statistics.median(taken),
            "recall@10 after it": found_share(self._contender, self._queries, self._truth),
            "memory after it, MB": machine.settled_memory_mb(self._contender.pid),
        }
        self._contender.close()
        return figures

    def _reopened(self) -> float:
        """How many seconds it takes."""
        self._contender.close()
        start = time.perf_counter()
        self._contender.open(self._folder)
        client = self._contender.clients()[""]()
        client.search(self._queries[:1])
        taken = time.perf_counter() - start
        client.close()
        return taken

    def _lone(self, client: Client) -> clock.Work:
        return lambda _: len(client.search(self._next()))

    def _task(self, client: AsyncClient) -> Callable[[], Awaitable[int]]:
        async def work() -> int:
            return len(await client.search(self._next()))

        return work

    def _next(self) -> Floats:
        """The next query, (1, d)."""
        return self._timed[next(self._numbers) % len(self._timed)][None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--data", type=Path, required=True, help="what `Measured` says")
    parser.add_argument("--folder", type=Path, required=True, help="where the contender keeps its own")
    parser.add_argument("--orders", type=int, required=True, help="the file descriptor that they come from")
    options = parser.parse_args()
    entry = CONTENDERS[options.name]
    module, _, name = entry.made_by.partition(":")
    contender: Contender = getattr(import_module(module), name)(*entry.arguments)
    measured = Measured(contender, options.folder, options.data)
    orders.obey(options.orders, measured)


if __name__ == "__main__":
    main()
