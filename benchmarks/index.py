"""How fast and how good a space's index is, beside bare FAISS on the same vectors.

    apt-get install dataset-fashion-mnist
    python benchmarks/index.py --json index.json

The data are clustered and of unit length (see clusters.py), and in one section real: the pixels of
Fashion-MNIST, which ANN-Benchmarks (Aumüller et al., 2020) searches too, with its test set as queries. Lone
queries are timed in turns with FAISS's, so that a noisy moment hits both; on a machine that does other things
as well, read all times as ratios. million.py measures a whole database.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import faiss
import numpy as np
from beside_faiss import K, bare
from clock import in_turns_ms
from clusters import Floats, make_data, recall
from machine import describe
from pictures import drawings
from report import add_options, finish

import embeddb
from embeddb.index import IndexPolicy, SpaceIndex
from embeddb.options import Effort

Figures = Iterator[tuple[str, float]]

QUERIES = 200
EXACT_VECTORS = 100_000
BATCH = 64
MANY = 100
NONE = np.empty(0, np.int64)


def filled(vectors: Floats, factory: str, first: int = 0) -> SpaceIndex:
    """An index of these vectors, with rows from `first` on, as the policy wants it."""
    index = SpaceIndex(vectors.shape[1], policy=IndexPolicy(factory))
    for start in range(0, len(vectors), 1000):
        part = vectors[start : start + 1000]
        index.update(np.arange(first + start, first + start + len(part)), part, NONE)
    index.settle()
    return index


def exact(vectors: Floats, queries: Floats) -> Figures:
    """The exact scan beside FAISS's flat index."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    index = filled(vectors, "Flat")
    yield "recall@10 against FAISS flat", recall(index.search(queries, K)[1], flat.search(queries, K)[1])
    alone, own = lone_ms(lambda query: flat.search(query, K), index, queries)
    yield "FAISS flat, one query, ms", alone
    yield "here, one query, ms", own
    yield "here, times FAISS flat", own / alone
    many = queries[:BATCH]
    alone, own = in_turns_ms(lambda _: flat.search(many, K), lambda _: index.search(many, K), times=5)
    yield "FAISS flat, batch of 64, queries/s", BATCH / alone * 1000
    yield "here, batch of 64, queries/s", BATCH / own * 1000
    index.close()


def approximate(vectors: Floats, queries: Floats, factory: str) -> Figures:
    """An approximate index: as good as asked for, and as fast as FAISS itself."""
    index = filled(vectors, factory)
    print(repr(index), flush=True)
    truth = index.search(queries, K, effort=Effort.EXACT)[1]
    for effort in (Effort.SPEED, Effort.BALANCED, Effort.ACCURACY):
        yield f"{effort}: recall@10", recall(index.search(queries, K, effort=effort)[1], truth)
    truth = index.search(queries, MANY, effort=Effort.EXACT)[1]
    yield f"{Effort.BALANCED}: recall@{MANY}", recall(index.search(queries, MANY)[1], truth)
    alone, own = lone_ms(bare(index), index, queries)
    yield "FAISS alone, one query, ms", alone
    yield "here, one query, ms", own
    yield "here, times FAISS alone", own / alone
    search, many = bare(index), queries[:BATCH]
    alone, own = in_turns_ms(lambda _: search(many), lambda _: index.search(many, K), times=30)
    yield "FAISS alone, batch of 64, queries/s", BATCH / alone * 1000
    yield "here, batch of 64, queries/s", BATCH / own * 1000
    index.close()


def replaced(vectors: Floats, queries: Floats) -> Figures:
    """Half of the rows replaced, a thousand at a time, beside an index that is built of what is left."""
    half = len(vectors) // 3
    index = filled(vectors[: 2 * half], "auto")
    for start in range(0, half, 1000):
        rows = np.arange(2 * half + start, 2 * half + min(start + 1000, half))
        index.update(rows, vectors[rows], rows - 2 * half)
    index.settle()
    fresh = filled(vectors[half : 3 * half], "auto", first=half)
    truth = fresh.search(queries, K, effort=Effort.EXACT)[1]
    of_fresh, own = (recall(each.search(queries, K)[1], truth) for each in (fresh, index))
    yield "recall@10, times that of a fresh index", own / of_fresh
    new, old = in_turns_ms(
        lambda n: fresh.search(queries[n % QUERIES][np.newaxis], K),
        lambda n: index.search(queries[n % QUERIES][np.newaxis], K),
    )
    yield "one query, times that of a fresh index", old / new
    index.close()
    fresh.close()


def lone_ms(search: Callable[[Floats], object], index: SpaceIndex, queries: Floats) -> list[float]:
    """What one query takes, by FAISS and by an index."""
    asked = [queries[n : n + 1] for n in range(QUERIES)]
    return in_turns_ms(lambda n: search(asked[n % QUERIES]), lambda n: index.search(asked[n % QUERIES], K))


def fashion(part: str) -> Floats:
    """Drawings as their 784 pixels, at unit length."""
    pixels = drawings(part).reshape(-1, 784).astype(np.float32)
    return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=512)
    add_options(parser)
    options = parser.parse_args()
    where = describe()
    draw = make_data(options.dimension, np.random.default_rng(0))
    queries, vectors = draw(QUERIES), draw(options.vectors)
    few = vectors[:EXACT_VECTORS]
    drawn, asked = fashion("train"), fashion("t10k")[:QUERIES]
    sections = {
        "exact, 100,000": exact(few, queries),
        "HNSW32, 100,000": approximate(few, queries, "HNSW32"),
        "HNSW32, Fashion-MNIST": approximate(drawn, asked, "HNSW32"),
        "auto": approximate(vectors, queries, "auto"),
        "auto, half replaced": replaced(vectors, queries),
    }
    results: dict[str, dict[str, float]] = {}
    for section, figures in sections.items():
        results[section] = {}
        for name, value in figures:
            results[section][name] = value
            print(f"{section:22} {name:40} {value:12,.3f}", flush=True)
    about: dict[str, object] = {"vectors": options.vectors, "dimension": options.dimension}
    about |= {"embeddb": embeddb.__version__, "faiss": faiss.__version__}
    finish(options, where, about, results)


if __name__ == "__main__":
    main()
