"""What queries cost beside a plain search by one vector: arithmetic, explanations, re-ranking, batches.

    python benchmarks/queries.py --items 20000 --json queries.json

Unit vectors of 512 dimensions in clusters, as features are; everything is in process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from typing import Any

import machine
import numpy as np
import report
from clusters import make_data

import embeddb
from embeddb.collection import Collection
from embeddb.options import Arithmetic, Combine, Diversify, Group, KReciprocal
from embeddb.query import Item, PutItem, Search, Vector

DIMENSION = 512


def measure(collection: Collection, queries: np.ndarray, rounds: int) -> dict[str, float]:
    """Medians in milliseconds.

    Every round runs each query once, so that a noisy moment hits all of them, and in an order of chance, so
    that none always finds the caches as the same other one has left them.
    """
    vectors = [Vector(query) for query in queries]
    options: dict[str, dict[str, Any]] = {
        "one vector": {},
        "explained": {"explain": True},
        "grouped": {"group": Group("cluster")},
        "product, 200 candidates": {"arithmetic": Arithmetic(Combine.PRODUCT)},
        "diversified, 100 candidates": {"rerank": Diversify(), "candidates": 100},
        "k-reciprocal, 100 candidates": {"rerank": KReciprocal(), "candidates": 100},
    }
    times: dict[str, list[float]] = defaultdict(list)
    order = np.random.default_rng(1)
    for n in range(rounds):
        vector = vectors[n % len(vectors)]
        searches = {name: Search([vector], **chosen) for name, chosen in options.items()}
        searches["a vector and two items"] = Search([vector - 0.5 * Item(f"{n}") + 0.7 * Item(f"{n + 1}")])
        searches["a batch of 64 vectors"] = Search(vectors)
        for name in order.permutation(list(searches)).tolist():
            start = time.perf_counter()
            collection.search_many(searches[name])
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(times[name])) * 1000 for name in searches}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=100)
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    draw = make_data(DIMENSION, np.random.default_rng(0))
    stored, asked = draw(options.items), draw(64)
    with tempfile.TemporaryDirectory() as folder, embeddb.open(folder) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.create_collection("c", ["given"])
        collection.put_many(
            PutItem(f"{n}", metadata={"cluster": n % 50}, features={"given": vector})
            for n, vector in enumerate(stored)
        )
        medians = measure(collection, asked, options.rounds)
    plain = medians["one vector"]
    results = {
        "p50": {f"{name}, ms": value for name, value in medians.items()},
        "more than one vector alone": {f"{name}, ms": value - plain for name, value in medians.items()},
    }
    about = {"items": options.items, "dimension": DIMENSION, "embeddb": embeddb.__version__}
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
