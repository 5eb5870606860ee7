"""What messages cost, beside what they carry: as columns, and as a message for each vector, hit and item.

    python benchmarks/messages.py --json messages.json

A batch of searches and a batch of puts, from what a program asks to the bytes, and back, in one process: the
processor time of each step, the least of many rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial

import machine
import numpy as np
import report

from embeddb.errors import or_raise
from embeddb.query import HitColumns, Hits, ItemColumns, PutItem, PutResults, PutStatus, Search
from embeddb_protos.v1 import items_pb2, search_pb2
from embeddb_protos.wire.expressions import expression_message
from embeddb_protos.wire.puts import (
    put_item_message,
    put_items_from,
    put_request_message,
    put_response_message,
    put_results_from,
)
from embeddb_protos.wire.search import expressions_from, response_from, response_message, search_message

Figures = dict[str, float]


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return min(taken) * 1000


def measure(
    what: str,
    ask: Callable[[], bytes],
    read: Callable[[bytes], object],
    answer: Callable[[], bytes],
    understand: Mapping[str, Callable[[bytes], object]],
    rounds: int,
) -> Figures:
    """The steps of one exchange; `understand` has the ways in which the client may read the answer."""
    asked, answered = ask(), answer()
    steps: dict[str, Callable[[], object]] = {
        "asked": ask,
        "read by the server": lambda: read(asked),
        "answered": answer,
    }
    steps |= {name: partial(each, answered) for name, each in understand.items()}
    return {f"{what}: {name}, ms": milliseconds(step, rounds) for name, step in steps.items()}


def searches(queries: np.ndarray, hits: int, columns: bool, rounds: int) -> Figures:
    """A batch of searches for vectors, with so many hits each, of which nothing but their ids is stored."""
    search = Search(list(queries), hits)
    count = hits * len(queries)
    items = ItemColumns([str(n) for n in range(count)], ["{}"] * count, [None] * count)
    found = HitColumns([hits] * len(queries), items, np.linspace(1, 0, count).tolist())

    def ask() -> bytes:
        message = search_message("default", search)
        if not columns:
            message.ClearField("vectors")
            message.expressions.extend(map(expression_message, search.expressions))
        return bytes(message.SerializeToString())

    def understood(answered: bytes) -> list[Hits]:
        return list(map(or_raise, response_from(search_pb2.SearchResponse.FromString(answered))))

    return measure(
        f"{len(queries)} searches, {hits} hits each",
        ask,
        lambda asked: expressions_from(search_pb2.SearchRequest.FromString(asked)),
        lambda: bytes(response_message(found, columns=columns).SerializeToString()),
        {
            "read by the client, ids alone": lambda answered: [hits.ids for hits in understood(answered)],
            "read by the client, an object each": lambda answered: list(map(list, understood(answered))),
        },
        rounds,
    )


def puts(vectors: np.ndarray, columns: bool, rounds: int) -> Figures:
    """A batch of items of features alone."""
    items = [PutItem(str(n), features={"given": vector}) for n, vector in enumerate(vectors)]
    results = PutResults([item.id for item in items], [PutStatus.CREATED] * len(items))

    def ask() -> items_pb2.PutItemsRequest:
        if columns:
            return put_request_message("default", items)
        return items_pb2.PutItemsRequest(collection="default", items=map(put_item_message, items))

    request = ask()
    return measure(
        f"{len(vectors):,} puts",
        lambda: bytes(ask().SerializeToString()),
        lambda asked: put_items_from(items_pb2.PutItemsRequest.FromString(asked)),
        lambda: bytes(put_response_message(request, results).SerializeToString()),
        {
            "read by the client": lambda answered: put_results_from(
                request, items_pb2.PutItemsResponse.FromString(answered)
            )
        },
        rounds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--searches", type=int, default=64)
    parser.add_argument("--hits", type=int, default=10)
    parser.add_argument("--puts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    random = np.random.default_rng(0)
    queries = random.standard_normal((options.searches, options.dimension), np.float32)
    vectors = random.standard_normal((options.puts, options.dimension), np.float32)
    results = {
        name: searches(queries, options.hits, columns, options.rounds)
        | puts(vectors, columns, options.rounds)
        for name, columns in (("a message each", False), ("columns", True))
    }
    report.finish(options, where, {"dimension": options.dimension}, results)


if __name__ == "__main__":
    main()
