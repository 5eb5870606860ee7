"""Many clients put, search and delete pictures and texts for minutes, while a model is backfilled.

    python benchmarks/soak.py --seconds 300 --json soak.json

Fails if a call fails, if an acknowledged item is not found at the end, or if a deleted one is. The server
is a process of its own; its memory is read from /proc every second, so this runs on Linux.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import machine
import numpy as np
import PIL.Image
import report
from contenders.of_embeddb import serve

import embeddb
from embeddb.errors import EmbeddbError
from embeddb.query import BackfillState
from embeddb_client import Client, Image, Item, PutItem, Text

ITEMS_PER_CLIENT = 200
WARM_UP = 0.3  # Of the whole time; memory is compared from then on.


class Caller(threading.Thread):
    """One client with ids of its own, which remembers what it was told."""

    def __init__(self, address: str, number: int, end: float) -> None:
        super().__init__(name=f"caller-{number}")
        self._address = address
        self._prefix = f"{number:02}-"
        self._end = end
        self._random = random.Random(number)
        self.stored: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.errors: list[str] = []

    def run(self) -> None:
        with Client(self._address, timeout=120) as client:
            while time.monotonic() < self._end:
                work = self._random.choices((self.put_some, self.search_once, self.delete_one), (3, 5, 1))[0]
                try:
                    work(client)
                except EmbeddbError as error:
                    self.errors.append(f"{work.__name__}: {error!r}")
                self.calls[work.__name__] += 1

    def put_some(self, client: Client) -> None:
        ids = {self._id() for _ in range(self._random.randint(1, 16))}
        for result in client.put_many(PutItem(each, self._content()) for each in ids):
            if result.error is None:
                self.stored.add(result.id)
            else:
                self.errors.append(f"put {result.id}: {result.error!r}")

    def search_once(self, client: Client) -> None:
        if self.stored and self._random.random() < 0.5:
            client.search(Item(self._random.choice(sorted(self.stored))) + Text("red"), k=10)
        else:
            client.search(Text(self._random.choice(("red", "a blue square", "dark"))), k=10)

    def delete_one(self, client: Client) -> None:
        if self.stored:
            item_id = self._random.choice(sorted(self.stored))
            client.delete(item_id)
            self.stored.remove(item_id)

    def _id(self) -> str:
        return f"{self._prefix}{self._random.randrange(ITEMS_PER_CLIENT)}"

    def _content(self) -> Image | Text:
        if self._random.random() < 0.2:
            return Text(f"a note with the number {self._random.randrange(1000)}")
        pixels = np.random.default_rng(self._random.randrange(10**9)).integers(0, 255, (8, 8, 3), np.uint8)
        return Image(PIL.Image.fromarray(pixels).resize((64, 64)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=16)
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    with tempfile.TemporaryDirectory() as data, serve(Path(data)) as (pid, address):
        figures, errors = soak(address, pid, options.clients, options.seconds)
    about = {"embeddb": embeddb.__version__, "seconds": options.seconds, "clients": options.clients}
    report.finish(options, where, about, {"embeddb": figures})
    for error in errors:
        print(error, file=sys.stderr)
    if errors or figures["acknowledged and not found"] or figures["deleted and found"]:
        sys.exit("soak: failed")


def soak(address: str, pid: int, clients: int, seconds: float) -> tuple[dict[str, float], list[str]]:
    """What was done and what it took, and every error that was not asked for."""
    with Client(address, timeout=300) as client:
        client.register_model("starter", {"loader": "starter"})
        client.add_model("starter")
        client.register_model("again", {"loader": "starter"})
        end = time.monotonic() + seconds
        callers = [Caller(address, number, end) for number in range(clients)]
        for caller in callers:
            caller.start()
        memory, backfills = watch(client, pid, end)
        for caller in callers:
            caller.join()
        there = {item.id for item in client.items()}
        stored = {item_id for caller in callers for item_id in caller.stored}
        found = {
            item_id
            for item_id in sorted(stored)
            if any(hit.id == item_id for hit in client.search(Item(item_id), k=5, include_operands=True))
        }
    errors = [error for caller in callers for error in caller.errors]
    warm = memory[int(len(memory) * WARM_UP) :]
    half = len(warm) // 2
    calls = sum((caller.calls for caller in callers), Counter[str]())
    figures = {
        "calls of put": calls["put_some"],
        "calls of search": calls["search_once"],
        "calls of delete": calls["delete_one"],
        "backfills": backfills,
        "items at the end": len(there),
        "errors": len(errors),
        "acknowledged and not found": len(stored - found),
        "deleted and found": len(there - stored),
        "memory, MB, median of the first half after warm-up": float(np.median(warm[:half])),
        "memory, MB, median of the second half": float(np.median(warm[half:])),
    }
    return figures, errors


def watch(client: Client, pid: int, end: float) -> tuple[list[float], int]:
    """The server's anonymous memory each second, in MB, while a second model is filled again and again."""
    memory: list[float] = []
    done = 0
    client.backfill("again")
    while time.monotonic() < end:
        memory.append(machine.memory_mb(pid))
        if all(backfill.state is BackfillState.COMPLETE for backfill in client.backfills()):
            done += 1
            client.drop_model("again", force=True)
            client.backfill("again")
        time.sleep(1)
    return memory, done


if __name__ == "__main__":
    main()
