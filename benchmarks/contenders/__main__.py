"""Measures one contender in a process of its own; search_service.py starts it."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import clock
import machine
import numpy as np
from clusters import Ids

from contenders import CONTENDERS, Client, Contender, Floats, insert_all
from contenders.effort import BATCH, choose_effort, found_share

CLIENTS = (1, 8, 32)
REOPENINGS = 5
Figures = Iterator[tuple[str, str, float]]
"""The name of the way to connect, of the figure, and its value."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--data", type=Path, required=True, help="with vectors.npy, queries.npy, truth.npy")
    parser.add_argument("--folder", type=Path, required=True, help="where the contender keeps its own")
    parser.add_argument("--seconds", type=float, required=True, help="of each measurement of queries")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    # Mapped, so that they do not count as memory of the contenders in this process.
    vectors = np.load(options.data / "vectors.npy", mmap_mode="r")
    queries, truth = np.load(options.data / "queries.npy"), np.load(options.data / "truth.npy")
    entry = CONTENDERS[options.name]
    module, _, name = entry.made_by.partition(":")
    contender: Contender = getattr(import_module(module), name)(*entry.arguments)
    results: dict[str, dict[str, float]] = {}
    for section in (
        fill(contender, options.folder, vectors),
        ask(contender, queries, truth, options.seconds),
        reopen(contender, options.folder, queries, truth),
    ):
        for way, figure, value in section:
            results.setdefault(f"{options.name}, {way}" if way else options.name, {})[figure] = value
    options.json.write_text(json.dumps(results))


def fill(contender: Contender, folder: Path, vectors: Floats) -> Figures:
    """Insert everything, and wait until the contender has made its index of it."""
    contender.open(folder)
    contender.create(vectors.shape[1])
    start = time.perf_counter()
    insert_all(contender, vectors)
    inserted = time.perf_counter()
    contender.build()
    settled = max(time.perf_counter(), machine.wait_until_idle(contender.pid))
    yield "", "inserts/s", len(vectors) / (inserted - start)
    yield "", "index after that, s", settled - inserted
    yield "", "inserted and indexed/s", len(vectors) / (settled - start)


def ask(contender: Contender, queries: Floats, truth: Ids, seconds: float) -> Figures:
    """Search with the least effort that finds enough; with the greatest, if none does."""
    yield "", "recall@10", choose_effort(contender, queries, truth)
    for way, connect in contender.clients().items():
        for figure, value in speed(connect, queries, seconds):
            yield way, figure, value


def reopen(contender: Contender, folder: Path, queries: Floats, truth: Ids) -> Figures:
    """End and begin again, several times, as hard as it looked before."""
    taken = []
    for _ in range(REOPENINGS):
        contender.close()
        start = time.perf_counter()
        contender.open(folder)
        client = contender.clients()[""]()
        client.search(queries[:1])
        taken.append(time.perf_counter() - start)
        client.close()
    yield "", "disk, MB", machine.disk_mb(folder)
    yield "", "reopen to the first answer, s", statistics.median(taken)
    yield "", "recall@10 after it", found_share(contender, queries, truth)
    yield "", "memory after it, MB", machine.settled_memory_mb(contender.pid)
    contender.close()


def speed(connect: Callable[[], Client], queries: Floats, seconds: float) -> Iterator[tuple[str, float]]:
    """One caller, several of them, and one with batches."""
    connected = [connect() for _ in range(max(CLIENTS))]

    def lone(client: Client) -> clock.Work:
        return lambda number: len(client.search(queries[number % len(queries)][None]))

    def batches(client: Client) -> clock.Work:
        starts = range(0, len(queries) - BATCH + 1, BATCH)
        return lambda number: len(client.search(queries[starts[number % len(starts)] :][:BATCH]))

    yield from zip(("p50, ms", "p99, ms"), clock.waits(lone(connected[0]), seconds), strict=True)
    for count in CLIENTS:
        name = f"queries/s, {count} client{'s' * (count > 1)}"
        yield name, clock.rate([lone(client) for client in connected[:count]], seconds)
    yield f"queries/s, batches of {BATCH}", clock.rate([batches(connected[0])], seconds)
    for client in connected:
        client.close()


if __name__ == "__main__":
    main()
