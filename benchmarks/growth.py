"""How a collection's cost grows: one that is filled to 10,000 vectors, and on to ten million.

    python benchmarks/growth.py --json growth.json

embeddb-server over gRPC, with a collection as it comes, but for its encoding: with float16, ten million
vectors of 512 dimensions take 10 GB of memory. At each size it is searched, ended and opened again. Needs 33
GB of disk, and 22 GB of memory at times.
`growth_plot.py` draws the figures.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import clock
import machine
import numpy as np
import report
from clusters import Floats, make_data, nearest, recall, write_vectors
from contenders import K
from contenders.of_embeddb import Embeddb

import embeddb
from embeddb.query import Encoding

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
BATCH = 64
CLIENTS = 8


def fill(contender: Embeddb, vectors: Floats, first: int) -> Iterator[tuple[str, float]]:
    """Insert those from `first` on, and wait for the index."""
    start = time.perf_counter()
    for begin in range(first, len(vectors), contender.batch):
        contender.insert(begin, np.asarray(vectors[begin : begin + contender.batch]))
    inserted = time.perf_counter()
    settled = max(time.perf_counter(), machine.wait_until_idle(contender.pid))
    yield "inserts/s since the size before", (len(vectors) - first) / (inserted - start)
    yield "index after that, s", settled - inserted


def ask(contender: Embeddb, vectors: Floats, queries: Floats, seconds: float) -> Iterator[tuple[str, float]]:
    """Search, alone and together."""
    clients = [contender.clients()[""]() for _ in range(CLIENTS)]
    stream = contender.clients()["open stream"]()
    starts = range(0, len(queries) - BATCH + 1, BATCH)
    found = [numbers for start in starts for numbers in clients[0].search(queries[start : start + BATCH])]
    yield "recall@10", recall(found, nearest(vectors, queries[: len(found)], K))
    for name, client in (("unary", clients[0]), ("open stream", stream)):

        def lone(number: int, client=client) -> int:
            return len(client.search(queries[number % len(queries)][None]))

        p50, p99 = clock.waits(lone, seconds)
        yield f"p50, {name}, ms", p50
        yield f"p99, {name}, ms", p99
    together = [lambda n, each=each: len(each.search(queries[n % len(queries)][None])) for each in clients]
    yield f"queries/s, {CLIENTS} clients", clock.rate(together, seconds)
    batches = [lambda n: len(clients[0].search(queries[starts[n % len(starts)] :][:BATCH]))]
    yield f"queries/s, batches of {BATCH}", clock.rate(batches, seconds)
    for client in (*clients, stream):
        client.close()


def reopen(contender: Embeddb, folder: Path, query: Floats) -> Iterator[tuple[str, float]]:
    """End the server and begin again."""
    contender.close()
    yield "disk, MB", machine.disk_mb(folder)
    start = time.perf_counter()
    contender.open(folder)
    client = contender.clients()[""]()
    client.search(query)
    yield "reopen to the first answer, s", time.perf_counter() - start
    client.close()
    yield "memory after it, MB", machine.settled_memory_mb(contender.pid)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", type=int, action="append", help="these sizes, ascending; four to ten million if not given"
    )
    parser.add_argument("--encoding", type=Encoding, choices=Encoding, default=Encoding.FLOAT16)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of queries")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; the system's temporary one")
    report.add_options(parser)
    options = parser.parse_args()
    sizes = options.size or SIZES
    where = machine.describe()
    results: report.Results = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary, "data")
        draw = make_data(options.dimension, np.random.default_rng(0))
        queries = draw(512)
        vectors = write_vectors(Path(temporary, "vectors.npy"), draw, max(sizes))
        contender = Embeddb("auto", options.encoding)
        contender.open(folder)
        contender.create(options.dimension)
        for before, size in zip((0, *sizes), sizes, strict=False):
            figures = dict(fill(contender, vectors[:size], before))
            figures |= dict(ask(contender, vectors[:size], queries, options.seconds))
            figures |= dict(reopen(contender, folder, queries[:1]))
            results[f"{size:,}"] = figures
            print(f"{size:,}", flush=True)
        contender.close()
    about = {"dimension": options.dimension, "encoding": options.encoding, "seconds": options.seconds}
    about["embeddb"] = embeddb.__version__
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
