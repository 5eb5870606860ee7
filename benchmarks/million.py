"""A million vectors of 512 dimensions in one process: how fast, how good, in how much memory, how soon again.

    OMP_NUM_THREADS=2 python benchmarks/million.py --json million.json

One process fills a collection and waits for its index; a second one opens it, which is the restart, and
measures the rest. Lone queries are timed in turns with FAISS's own search of the same index with the same
parameters, so that a noisy moment hits both. The data are clustered (see clusters.py).
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from beside_faiss import K, bare, refined
from clock import in_turns_ms
from clusters import make_data, recall
from machine import describe, memory_mb
from report import add_options, finish

import embeddb
from embeddb.database import Database
from embeddb.kept_columns import NAME
from embeddb.options import Effort
from embeddb.query import CollectionSettings, Encoding, PutItem, Search, Vector

DIMENSION = 512
BATCH = 1000
QUERIES = 300
FILTERS = {"1%": "price < 1", "50%": "price < 50"}


def own_memory_mb() -> float:
    """The anonymous memory of this process, once what is free was given back."""
    ctypes.CDLL(None).malloc_trim(0)
    return memory_mb(os.getpid())


def fill(folder: Path, vectors: int, encoding: str, factory: str) -> Iterator[tuple[str, float]]:
    """Put the vectors, and wait for the index."""
    rng = np.random.default_rng(0)
    draw = make_data(DIMENSION, rng)
    draw(QUERIES)  # These are the queries.
    with embeddb.open(folder) as database:
        collection = _collection(database, encoding, factory)
        before = own_memory_mb()
        putting = 0.0
        for start in range(0, vectors, BATCH):
            items = [
                PutItem(f"{start + n}", features={"given": vector}, metadata={"price": (start + n) % 100})
                for n, vector in enumerate(draw(BATCH))
            ]
            began = time.perf_counter()
            collection.put_many(items)
            putting += time.perf_counter() - began
        yield "durable puts a second, indexes being built", vectors / putting
        began = time.perf_counter()
        collection.settle()
        yield "from the last put to the settled index, s", time.perf_counter() - began
        yield "memory after that, times the raw vectors", _times_raw(before, vectors, encoding)


def serve(folder: Path, vectors: int, encoding: str, factory: str) -> Iterator[tuple[str, float]]:
    """Open what was filled, and measure it."""
    with tempfile.TemporaryDirectory() as empty, embeddb.open(Path(empty)) as database:
        _collection(database, encoding, factory).put("one", features={"given": np.ones(DIMENSION)})
        database.collection("c").search(Vector(np.ones(DIMENSION)))
        before = own_memory_mb()
    queries = make_data(DIMENSION, np.random.default_rng(0))(QUERIES)
    lone = [queries[n : n + 1] for n in range(QUERIES)]
    asked = [Vector(query) for query in queries]
    # Of a folder that was used before, which kept them.
    (folder / "collections" / "c" / "indexes" / NAME).unlink(missing_ok=True)
    began = time.perf_counter()
    with embeddb.open(folder) as database:
        collection = database.collection("c")
        collection.search(asked[0])
        yield "restart to the first answer, s", time.perf_counter() - began
        collection.settle()
        yield "memory, times the raw vectors", _times_raw(before, vectors, encoding)
        index = collection._spaces.get("given")._index
        print(repr(index), flush=True)
        exact = index.search(queries, K, effort=Effort.EXACT)[1]
        yield "recall@10", recall(index.search(queries, K)[1], exact)
        search, refining = bare(index), refined(index)
        alone, same, own, whole = in_turns_ms(
            lambda n: search(lone[n % QUERIES]),
            lambda n: refining(lone[n % QUERIES]),
            lambda n: index.search(lone[n % QUERIES], K),
            lambda n: collection.search_many(Search([asked[n % QUERIES]])),
        )
        yield "FAISS alone, by the codes, one query, ms", alone
        yield "FAISS alone, candidates scored again, one query, ms", same
        yield "the space's index, one query, ms", own
        yield "the same, times FAISS by the codes", own / alone
        yield "the same, times FAISS with candidates scored again", own / same
        yield "the database with the items read, one query, ms", whole
        began = time.perf_counter()
        collection.search(asked[0], filter="price < 1")
        yield "first filter, which makes the columns, s", time.perf_counter() - began
        for name, text in FILTERS.items():
            plain, filtered = in_turns_ms(
                lambda n: collection.search_many(Search([asked[n % QUERIES]])),
                lambda n, t=text: collection.search_many(Search([asked[n % QUERIES]], filter=t)),  # type: ignore[misc]
                times=100,
            )
            yield f"a filter that keeps {name} adds, ms", filtered - plain
            allowed = collection._selection.rows(text)
            best = index.search(queries, K, allowed, Effort.EXACT)[1]
            yield (
                f"a filter that keeps {name}: recall@10",
                recall(index.search(queries, K, allowed)[1], best),
            )


def again(folder: Path, vectors: int, encoding: str, factory: str) -> Iterator[tuple[str, float]]:
    """Open what `serve` closed."""
    with embeddb.open(folder) as database:
        began = time.perf_counter()
        database.collection("c").search(Vector(np.ones(DIMENSION, np.float32)), filter="price < 1")
        yield "first filter after the next start, s", time.perf_counter() - began


def _collection(database: Database, encoding: str, factory: str) -> embeddb.collection.Collection:
    database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
    settings = CollectionSettings(encoding=Encoding(encoding), index=factory)
    return database.create_collection("c", ["given"], settings)


def _times_raw(before_mb: float, vectors: int, encoding: str) -> float:
    raw = np.dtype(encoding).itemsize * DIMENSION * vectors
    return (own_memory_mb() - before_mb) * 2**20 / raw


def _stage(
    stage: Callable[[Path, int, str, str], Iterator[tuple[str, float]]],
    figures: dict[str, float],
    *arguments: object,
) -> None:
    for name, value in stage(*arguments):  # type: ignore[arg-type]
        print(f"{name:55} {value:12,.3f}", flush=True)
        figures[name] = value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--encoding", choices=list(Encoding), default=Encoding.FLOAT32)
    parser.add_argument("--index", default="auto", help="as a collection's settings have it, such as HNSW32")
    parser.add_argument("--folder", type=Path, help="keep the collection here, and use what is there already")
    add_options(parser)
    options = parser.parse_args()
    where = describe()
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary, processes.Manager() as manager:
        figures = manager.dict()
        folder = options.folder or Path(temporary)
        filled = (folder / "collections").exists()
        for stage in [serve, again] if filled else [fill, serve, again]:
            arguments = (stage, figures, folder, options.vectors, str(options.encoding), options.index)
            process = processes.Process(target=_stage, args=arguments)
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(process.exitcode)
        about = {"vectors": options.vectors, "dimension": DIMENSION, "encoding": str(options.encoding)}
        about |= {"index": options.index}
        finish(options, where, about, {"embeddb": dict(figures)})


if __name__ == "__main__":
    main()
