"""How fast items of given features are written, scanned and opened again, and what they take on the disk.

    python benchmarks/writes.py --items 100000 --json writes.json

Unit vectors in clusters, as features are, so that those who search beside the puts have an index.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain, count, cycle
from pathlib import Path
from typing import Literal

# As docs/index.md has it for a process of one's own: threads of OpenMP that wait leave the cores to others.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import machine
import numpy as np
import report
from clusters import Floats, make_data

import embeddb
from embeddb.database import Database
from embeddb.index import prefer_products
from embeddb.query import CollectionSettings, Encoding, PutItem
from embeddb.storage import CollectionStore

Figures = dict[str, float]
Searches = Callable[[Callable[[], object], Callable[[], bool]], list[float]]
"""Searches as long as the second goes on; gives how long each took, in seconds."""

# Of searches that arrive at a fixed rate so many are due a second, and at most so many are answered at once.
ARRIVALS, MOST_AT_ONCE = 100, 32
# A load is over after some 200 of them, of which two are the slowest hundredth: so often are they repeated.
ARRIVAL_ROUNDS = 3
# Searches are idle for so long before the puts beside them, and after these.
IDLE_SECONDS = 2.0


def as_items(name: str, vectors: Floats) -> list[PutItem]:
    return [PutItem(f"{name}-{n}", None, {"n": n}, {"given": vector}) for n, vector in enumerate(vectors)]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(
    folder: Path,
    items: list[PutItem],
    others: list[PutItem],
    asked: Floats,
    batch: int,
    durability: Literal["sync", "async"],
    encoding: Encoding,
) -> Figures:
    """Figures of one way to store the items; others are put beside searches by the vectors asked (n, d)."""
    dimension = len(items[0].features["given"])
    with embeddb.open(folder, durability=durability) as database:
        database.register_model("given", {"loader": "vectors", "dimension": dimension})
        collection = database.create_collection("c", ["given"], CollectionSettings(encoding=encoding))
        batches = [items[start : start + batch] for start in range(0, len(items), batch)]
        cpu = time.process_time()
        each = [timed(lambda batch=batch: collection.put_many(batch)) for batch in batches]
        cpu = time.process_time() - cpu
        assert collection.info().items == len(items)
        again = timed(lambda: collection.put_many(items))
        figures = {
            "puts/s": len(items) / sum(each),
            # On a machine that others use too, this tells more than the clock.
            "puts/s of processor time": len(items) / cpu,
            "p50 of a batch, ms": float(np.percentile(each, 50)) * 1000,
            "p99 of a batch, ms": float(np.percentile(each, 99)) * 1000,
            "unchanged puts/s": len(items) / again,
            "one put, ms": single(database, items[0]),
            "puts of 4 threads/s": len(items)
            / threaded(database, batches, CollectionSettings(encoding=encoding)),
            **streamed(database, items, others, asked, CollectionSettings(encoding=encoding)),
        }
    data = folder / "collections" / "c" / "data.mdb"
    raw = len(items) * dimension * np.dtype(encoding).itemsize
    figures["disk, times the features"] = data.stat().st_blocks * 512 / raw
    start = time.perf_counter()
    with embeddb.open(folder) as database:
        figures["open, s"] = time.perf_counter() - start
        deleted = [item.id for item in items[: len(items) // 2]]
        seconds = timed(lambda: database.collection("c").delete_many(deleted))
        figures["deletes/s"] = len(deleted) / seconds
    with closing(CollectionStore(data.parent, "c")) as store:
        seconds = timed(lambda: [len(rows) for rows, _ in store.scan("given")])
        figures["scan, vectors/s"] = (len(items) - len(deleted)) / seconds
        last = len(items) - np.random.default_rng(0).permutation(len(items) - len(deleted))[:10_000] - 1
        seconds = timed(lambda: store.features("given", last.tolist()))
        figures["random features, vectors/s"] = len(last) / seconds
    return figures


def threaded(database: Database, batches: list[list[PutItem]], settings: CollectionSettings) -> float:
    """How many seconds four threads take for all batches, which share transactions."""
    collection = database.create_collection("threaded", ["given"], settings)
    with ThreadPoolExecutor(4) as pool:
        seconds = timed(lambda: list(pool.map(collection.put_many, batches)))
    database.drop_collection("threaded")
    return seconds


def streamed(
    database: Database,
    items: list[PutItem],
    others: list[PutItem],
    asked: Floats,
    settings: CollectionSettings,
) -> Figures:
    """All items in one call, whose batches overlap; then as many again, beside two kinds of searches in turn.

    The first ones are indexed before that. Each search is for another vector. Searches are idle before and
    after, when there are twice as many vectors. Of those that arrive the slowest of all rounds are taken, and
    the median of their loads.
    """
    queries = cycle(asked)

    def beside(searches: Searches) -> tuple[float, float, list[float], list[float]]:
        """Seconds of the first items and of the others, and of searches idle and beside the others."""
        collection = database.create_collection("streamed", ["given"], settings)

        def search() -> None:
            collection.search(next(queries))

        first = timed(lambda: collection.put_many(items))
        collection.settle()
        idle = searches(search, going_on(IDLE_SECONDS))
        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(timed, lambda: collection.put_many(others))
            waits = searches(search, lambda: not putting.done())
            second = putting.result()
        # What was put is found, be it in the index by now or not.
        last = collection.search(others[-1].features["given"])[0]
        assert last.id == others[-1].id, last
        collection.settle()
        idle += searches(search, going_on(IDLE_SECONDS))
        database.drop_collection("streamed")
        return first, second, idle, waits

    alone, unpaused, idle, waits = beside(without_pause)
    arrivals = [beside(as_they_arrive) for _ in range(ARRIVAL_ROUNDS)]
    _, arrived, idle_arrivals, late = zip(*arrivals, strict=True)
    return {
        "puts in one call/s": len(items) / alone,
        "the same beside searches/s": len(items) / unpaused,
        "p99 of a search, ms": p99_ms(idle),
        "p99 of a search beside puts, ms": p99_ms(waits),
        f"the same beside {ARRIVALS} searches a second/s": len(items) / float(np.median(arrived)),
        "p99 of a search that arrives, ms": p99_ms(list(chain(*idle_arrivals))),
        "p99 of a search that arrives beside puts, ms": p99_ms(list(chain(*late))),
    }


def without_pause(search: Callable[[], object], goes_on: Callable[[], bool]) -> list[float]:
    """How long searches take, in seconds, of a caller who asks again as soon as there is an answer."""
    waits = []
    while goes_on():
        waits.append(timed(search))
    return waits


def as_they_arrive(search: Callable[[], object], goes_on: Callable[[], bool]) -> list[float]:
    """How long searches take, in seconds, that are due at a fixed rate, each from when it was due.

    Of as many callers as may be late at once each takes the next that is due, and waits for its time, so that
    one that is late delays no other. The caller above asks least while answers take long, and so hardly sees
    it: G. Tene's "coordinated omission".
    """
    begun, numbers = time.perf_counter(), count()

    def call() -> list[float]:
        waits = []
        while True:
            due = begun + next(numbers) / ARRIVALS
            time.sleep(max(0.0, due - time.perf_counter()))
            if not goes_on():
                return waits
            search()
            waits.append(time.perf_counter() - due)

    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        callers = [pool.submit(call) for _ in range(MOST_AT_ONCE)]
        return [wait for caller in callers for wait in caller.result()]


def going_on(seconds: float) -> Callable[[], bool]:
    """Whether less than so many seconds have passed since this call."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


def p99_ms(seconds: list[float]) -> float:
    return float(np.percentile(seconds, 99)) * 1000


def single(database: Database, item: PutItem) -> float:
    """The median of puts of one new item each, in milliseconds."""
    collection = database.create_collection("single", ["given"])
    return 1000 * float(
        np.median([timed(lambda n=n: collection.put(str(n), features=item.features)) for n in range(200)])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; the system's temporary one")
    report.add_options(parser)
    options = parser.parse_args()
    prefer_products()
    sys.setswitchinterval(0.0002)
    where = machine.describe()
    draw = make_data(options.dimension, np.random.default_rng(0))
    vectors = draw(options.items)
    start = time.perf_counter()
    items = as_items("item", vectors)
    making = len(items) / (time.perf_counter() - start)
    others, asked = as_items("other", draw(options.items)), draw(1000)
    # As embeddb-server does with what it has at its start: to look for garbage among it stops everything.
    gc.freeze()
    results: dict[str, Figures] = {}
    for durability, encoding in (("sync", "float32"), ("sync", "float16"), ("async", "float32")):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results[f"{durability}, {encoding}"] = measure(
                Path(folder) / "data", items, others, asked, options.batch, durability, Encoding(encoding)
            )
    about = {name: getattr(options, name) for name in ("items", "dimension", "batch")}
    about |= {"making PutItems/s": round(making), "embeddb": embeddb.__version__}
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
