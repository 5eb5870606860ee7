"""How fast, how good and how large a space's index is, beside bare FAISS on the same vectors.

    python benchmarks/index.py --vectors 1000000 --json index.json

The data are clustered and of unit length, of 512 dimensions of which about 30 matter, so that approximate
search behaves as on the features of real models. All times are of one process, one after the other; on a
machine that does other things as well, read them as ratios.
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import machine
import numpy as np
import report
from clusters import Floats, make_data, recall

import embeddb
from embeddb.index import IndexPolicy, SpaceIndex
from embeddb.options import Effort
from embeddb.query import CollectionSettings, PutItem, Search, Vector

BATCH = 1000
K = 10
rng = np.random.default_rng(0)


def median_ms(work: Callable[[int], object], times: int = 50) -> float:
    taken = []
    for number in range(times):
        start = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1000


def memory_mb() -> float:
    """The anonymous memory of this process, once what is free was given back."""
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def exact(vectors: Floats, queries: Floats) -> Iterator[tuple[str, float]]:
    """The exact scan beside FAISS's flat index."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    index = SpaceIndex(vectors.shape[1], policy=IndexPolicy("Flat"))
    index.update(np.arange(len(vectors)), vectors, np.empty(0, np.int64))
    truth = flat.search(queries, K)[1]
    yield "recall@10 against FAISS flat", recall(index.search(queries, K)[1], truth)
    lone = [queries[n : n + 1] for n in range(50)]
    yield "FAISS flat, one query, ms", median_ms(lambda n: flat.search(lone[n], K))
    yield "exact scan, one query, ms", median_ms(lambda n: index.search(lone[n], K))
    many = queries[:64]
    yield "FAISS flat, batch 64, queries/s", 64e3 / median_ms(lambda _: flat.search(many, K), 5)
    yield "exact scan, batch 64, queries/s", 64e3 / median_ms(lambda _: index.search(many, K), 15)
    index.close()


def approximate(index: SpaceIndex, vectors: int, queries: Floats) -> Iterator[tuple[str, float]]:
    """The index that the policy chose: as good as asked, and as fast as FAISS itself."""
    truth = index.search(queries, K, effort=Effort.EXACT)[1]
    lone = [queries[n : n + 1] for n in range(50)]
    for effort in Effort:
        yield f"{effort}: recall@10", recall(index.search(queries, K, effort=effort)[1], truth)
        times = 5 if effort is Effort.EXACT else 50
        yield (
            f"{effort}: one query, ms",
            median_ms(lambda n, e=effort: index.search(lone[n], K, effort=e), times),
        )
    yield "balanced: batch 64, queries/s", 64e3 / median_ms(lambda _: index.search(queries[:64], K), 15)
    bare = index._approximate
    if bare is not None:
        parameters = faiss.SearchParametersIVF(nprobe=bare.effort(0.95))
        alone = median_ms(lambda n: bare.index.search(lone[n], K, params=parameters))
        yield "bare FAISS with the same parameters, one query, ms", alone
    for share in (0.01, 0.1, 0.5):
        allowed = np.flatnonzero(rng.random(vectors) < share)
        best = index.search(queries[:100], K, allowed, Effort.EXACT)[1]
        yield f"{share:.0%} allowed: recall@10", recall(index.search(queries[:100], K, allowed)[1], best)
        yield (
            f"{share:.0%} allowed: one query, ms",
            median_ms(lambda n, a=allowed: index.search(lone[n], K, a)),
        )


def whole(
    folder: Path, draw: Callable[[int], Floats], count: int, queries: Floats, about: dict[str, object]
) -> Iterator[tuple[str, float]]:
    """A database: writes, the index it builds, filters over metadata and restart."""
    dimension = queries.shape[1]
    before = memory_mb()
    with embeddb.open(folder) as database:
        database.register_model("given", {"loader": "vectors", "dimension": dimension})
        collection = database.create_collection("c", ["given"], CollectionSettings())
        writing = 0.0
        for start in range(0, count, BATCH):
            items = [
                PutItem(
                    f"{start + n}", features={"given": vector}, metadata={"price": int(rng.integers(100))}
                )
                for n, vector in enumerate(draw(BATCH))
            ]
            began = time.perf_counter()
            collection.put_many(items)
            writing += time.perf_counter() - began
        yield "durable puts/s, while indexes are built", count / writing
        began = time.perf_counter()
        collection.settle()
        yield "from the last put to the settled index, s", time.perf_counter() - began
        index = collection._spaces.get("given")._index
        about["index"] = repr(index)
        yield "memory, times the raw vectors", (memory_mb() - before) * 2**20 / (4 * dimension * count)
        yield from approximate(index, count, queries)
        began = time.perf_counter()
        collection.search(Vector(queries[0]), filter="price < 1")
        yield "first filtered search, s", time.perf_counter() - began
        plain = median_ms(lambda n: collection.search_many(Search([Vector(queries[n])])))
        yield "database search, one query, ms", plain
        for text in ("price < 1", "price < 50"):
            filtered = median_ms(
                lambda n, t=text: collection.search_many(Search([Vector(queries[n])], filter=t))
            )
            yield f"{text}: adds, ms", filtered - plain
    began = time.perf_counter()
    with embeddb.open(folder) as database:
        database.collection("c").search(Vector(queries[0]))
        yield "restart to the first answer, s", time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=512)
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    draw = make_data(options.dimension, rng)
    queries = draw(500)
    about: dict[str, object] = {"vectors": options.vectors, "dimension": options.dimension}
    about |= {"embeddb": embeddb.__version__, "faiss": faiss.__version__}
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        sections = (
            exact(draw(min(options.vectors, 100_000)), queries),
            whole(Path(folder), draw, options.vectors, queries, about),
        )
        for section in sections:
            for name, value in section:
                figures[name] = value
                print(f"{name:55} {value:12,.3f}", flush=True)
    report.finish(options, where, about, {"": figures})


if __name__ == "__main__":
    main()
