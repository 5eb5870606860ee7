"""From how many vectors on an index answers sooner than the exact scan, which is what `auto` goes by.

    python benchmarks/threshold.py --json threshold.json

The data are clustered and of unit length (see clusters.py). Both are asked in turns; what a search waits for
is what its caller gets, and the processor's time is what others lack meanwhile: a scan takes all cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection

import faiss
import numpy as np
from clusters import Floats, make_data
from machine import describe
from report import add_options, finish

import embeddb
from embeddb.index import IndexPolicy, SpaceIndex
from embeddb.index.policy import automatic

K = 10
QUERIES = 200
BATCH = 64
BATCHES = 20


def filled(vectors: Floats, factory: str) -> SpaceIndex:
    """An index of these vectors."""
    index = SpaceIndex(vectors.shape[1], policy=IndexPolicy(factory))
    index.update(np.arange(len(vectors)), vectors, np.empty(0, np.int64))
    index.settle()
    return index


def timed(indexes: Collection[SpaceIndex], asked: list[Floats]) -> tuple[list[float], list[float]]:
    """The median of what each index takes for one of `asked`: ms, and ms of the processor."""
    taken = np.empty((len(asked), len(indexes), 2))
    for number, queries in enumerate(asked):
        for place, index in enumerate(indexes):
            start = time.perf_counter(), time.process_time()
            index.search(queries, K)
            taken[number, place] = time.perf_counter() - start[0], time.process_time() - start[1]
    waited, worked = np.median(taken, axis=0).T * 1000
    return waited.tolist(), worked.tolist()


def measured(vectors: Floats, queries: Floats) -> dict[str, float]:
    """What a lone query and a batch take, by the scan and by the index that `auto` would have."""
    indexes = {"exact": filled(vectors, "Flat"), "IVF": filled(vectors, automatic(*vectors.shape))}
    figures = {}
    alone = [queries[n : n + 1] for n in range(QUERIES)]
    batches = [queries[n : n + BATCH] for n in range(BATCHES)]
    for what, asked in {"one query": alone, "batch of 64": batches}.items():
        for name, waited, worked in zip(indexes, *timed(indexes.values(), asked), strict=True):
            figures[f"{name}: {what}, ms"] = waited
            figures[f"{name}: {what}, processor, ms"] = worked
    for index in indexes.values():
        index.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[64, 384, 512])
    parser.add_argument("--vectors", type=int, nargs="+", default=[10_000, 20_000, 50_000, 100_000])
    add_options(parser)
    options = parser.parse_args()
    where = describe()
    results: dict[str, dict[str, float]] = {}
    for dimension in options.dimensions:
        draw = make_data(dimension, np.random.default_rng(0))
        queries, vectors = draw(QUERIES), draw(max(options.vectors))
        for count in options.vectors:
            section = f"{count:,} x {dimension}"
            results[section] = measured(vectors[:count], queries)
            print(section, {name: round(value, 3) for name, value in results[section].items()}, flush=True)
    about: dict[str, object] = {"k": K, "queries": QUERIES}
    about |= {"embeddb": embeddb.__version__, "faiss": faiss.__version__}
    finish(options, where, about, results)


if __name__ == "__main__":
    main()
