"""What queries cost beside a plain search by one vector: arithmetic, explanations, re-ranking, batches.

    python benchmarks/queries.py --items 20000 --json queries.json

The data are random and of 512 dimensions, in clusters as features are; everything is in process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import embeddb
from embeddb.collection import Collection
from embeddb.options import Arithmetic, Combine, Diversify, Group, KReciprocal
from embeddb.query import Item, PutItem, Search, Vector

DIMENSION = 512
CLUSTERS = 200


def features(items: int) -> np.ndarray:
    """(items, DIMENSION) float32 around CLUSTERS centres, with an intrinsic dimension of about 30."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(CLUSTERS, 30))[rng.integers(0, CLUSTERS, items)]
    latent = latent + 0.5 * rng.normal(size=latent.shape)
    return (latent @ rng.normal(size=(30, DIMENSION))).astype(np.float32)


def measure(collection: Collection, queries: np.ndarray, rounds: int) -> dict[str, float]:
    """Medians in milliseconds. Every round runs each query once, so that a noisy moment hits all of them."""
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
    for n in range(rounds):
        vector = vectors[n % len(vectors)]
        searches = {name: Search([vector], **chosen) for name, chosen in options.items()}
        searches["a vector and two items"] = Search([vector - 0.5 * Item(f"{n}") + 0.7 * Item(f"{n + 1}")])
        searches["a batch of 64 vectors"] = Search(vectors)
        for name, search in searches.items():
            start = time.perf_counter()
            collection.search_many(search)
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(each)) * 1000 for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, embeddb.open(folder) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.create_collection("c", ["given"])
        everything = features(arguments.items + 64)
        stored, asked = everything[:-64], everything[-64:]
        collection.put_many(
            PutItem(f"{n}", metadata={"cluster": n % 50}, features={"given": vector})
            for n, vector in enumerate(stored)
        )
        figures = measure(collection, asked, arguments.rounds)
    print(f"{arguments.items:,} items of {DIMENSION} dimensions, top 10, p50 in ms")
    for name, value in figures.items():
        print(f"{name:36} {value:8.2f}   {value - figures['one vector']:+8.2f}")
    if arguments.json:
        found = {"items": arguments.items, "dimension": DIMENSION, "p50_ms": figures}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
