"""One long stream of puts: what memory the server takes while gigabytes of payloads pass through it.

    python benchmarks/stream.py --gigabytes 10 --json stream.json

Each item comes with its vector and a payload of a megabyte, so that the stream and the storage are the work,
and no network is. Nothing is left on the disk; with payloads kept, it needs room for all of them. Memory is
anonymous: LMDB's file is mapped, and its pages are the system's, which takes them back when it wants them.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import machine
import numpy as np
import report
from contenders.of_embeddb import serve

import embeddb
from embeddb.query import CollectionSettings, Image, PutItem, PutResults
from embeddb_client import Client, Collection

DIMENSION = 64
GIGABYTE = 1000  # Payloads of a megabyte.
SECONDS = 0.05


class Memory(threading.Thread):
    """Watches what a process takes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._done = threading.Event()
        self._peak = 0.0

    def run(self) -> None:
        while not self._done.wait(SECONDS):
            self._peak = max(self._peak, machine.memory_mb(self._pid))

    def peak_mb(self) -> float:
        """The most since the last time that this was asked."""
        peak, self._peak = max(self._peak, machine.memory_mb(self._pid)), 0.0
        return peak

    def stop(self) -> None:
        self._done.set()
        self.join()


def items(count: int) -> Iterator[PutItem]:
    random = np.random.default_rng(0)
    # Compressed bytes look like this; half of each payload is shared, since random bytes take their time.
    shared = random.bytes(500_000)
    for number in range(count):
        payload = random.bytes(500_000) + shared
        yield PutItem(f"{number:06}", Image(payload), features={"given": random.normal(size=DIMENSION)})


def stream(collection: Collection, memory: Memory, gigabytes: int) -> dict[str, float]:
    """Put a stream; the server's memory during each gigabyte, and how fast they passed."""
    figures: dict[str, float] = {"at the start, MB": memory.peak_mb()}
    done = 0

    def watch(results: PutResults) -> None:
        nonlocal done
        before, done = done, done + len(results)
        for error in results.errors.values():
            raise error
        if before // GIGABYTE < done // GIGABYTE:
            figures[f"peak during gigabyte {done // GIGABYTE}, MB"] = memory.peak_mb()

    begun = time.perf_counter()
    collection.put_many(items(gigabytes * GIGABYTE), on_progress=watch)
    figures["megabytes/s"] = gigabytes * GIGABYTE / (time.perf_counter() - begun)
    return figures


def measure(keep_payloads: bool, gigabytes: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder)) as (pid, address),
        Client(address, timeout=600) as client,
    ):
        client.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        settings = CollectionSettings(keep_payloads=keep_payloads)
        collection = client.create_collection("streamed", ["given"], settings)
        memory = Memory(pid)
        memory.start()
        figures = stream(collection, memory, gigabytes)
        memory.stop()
        assert collection.info().items == gigabytes * GIGABYTE
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=int, default=10)
    parser.add_argument("--only", choices=["kept", "not-kept"], help="payloads: both ways if not given")
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    ways = {"kept": True, "not-kept": False}
    results = {
        name: measure(keep, options.gigabytes) for name, keep in ways.items() if options.only in (None, name)
    }
    report.finish(options, where, {"embeddb": embeddb.__version__, "gigabytes": options.gigabytes}, results)


if __name__ == "__main__":
    main()
