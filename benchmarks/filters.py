"""What a filter costs before the index sees it: embeddb's columns beside the same in pyarrow.

    python benchmarks/filters.py --items 1000000 --json filters.json

Both begin with the stored metadata, a JSON object an item, make columns of them, and then answer each filter
with the rows that it keeps. What they find is compared. What embeddb made it keeps in a file, and takes up at
the next start.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import clock
import machine
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import report

from embeddb.selection import Selection
from embeddb.storage import CollectionStore, Put

BATCH = 10_000
Rows = npt.NDArray[np.int64]


def has_tag(table: pa.Table, tag: str) -> pa.Array:
    """Whether each row's list `tags` has a value; Arrow has no function for it."""
    tags = table["tags"].combine_chunks()
    found = np.zeros(len(table), np.bool_)
    found[pc.list_parent_indices(tags).filter(pc.equal(pc.list_flatten(tags), tag)).to_numpy()] = True
    return pa.array(found)


FILTERS: dict[str, Callable[[pa.Table], Any]] = {
    "camera == 3": lambda table: pc.equal(table["camera"], 3),
    "price < 1": lambda table: pc.less(table["price"], 1),
    "price < 50": lambda table: pc.less(table["price"], 50),
    'brand == "brand 7"': lambda table: pc.equal(table["brand"], "brand 7"),
    'prefix(brand, "brand 1")': lambda table: pc.starts_with(table["brand"], "brand 1"),
    '"outdoor" in tags': lambda table: has_tag(table, "outdoor"),
    'price < 50 and camera != 3 and "outdoor" in tags': lambda table: pc.and_(
        pc.and_(pc.less(table["price"], 50), pc.not_equal(table["camera"], 3)), has_tag(table, "outdoor")
    ),
}


def metadata(number: int) -> str:
    tags = ["outdoor", "night", "red"][: number % 4]
    item = {"camera": number % 7, "price": number * 37 % 10_000 / 100, "brand": f"brand {number % 50}"}
    return json.dumps(item | {"name": f"photo {number}", "tags": tags})


def fill(store: CollectionStore, items: int) -> None:
    for start in range(0, items, BATCH):
        numbers = range(start, min(start + BATCH, items))
        store.write([Put(f"item-{n}", metadata(n), None, None, bytes(16), {}) for n in numbers])


def embeddb_columns(store: CollectionStore) -> Callable[[str], Rows]:
    selection = Selection(store, lambda: ())
    selection.rows("exists(camera)")
    return selection.rows


def arrow_columns(store: CollectionStore) -> Callable[[str], Rows]:
    lines: list[str] = []
    while records := store.records_after(len(lines) - 1, BATCH):
        lines += [record.metadata_json for record in records]
    table = pyarrow.json.read_json(io.BytesIO("\n".join(lines).encode()))
    return lambda text: np.flatnonzero(np.asarray(FILTERS[text](table)))


def answer(rows: Callable[[str], Rows], text: str, _: int) -> Rows:
    return rows(text)


def measure(store: CollectionStore, rounds: int) -> report.Results:
    results: report.Results = {}
    answers: list[Sequence[Rows]] = []
    for name, make in (("embeddb", embeddb_columns), ("pyarrow", arrow_columns)):
        start = time.perf_counter()
        rows = make(store)
        figures = {"columns made, s": time.perf_counter() - start}
        taken = clock.in_turns_ms(*(partial(answer, rows, text) for text in FILTERS), times=rounds)
        results[name] = figures | {f"`{text}`, ms": ms for text, ms in zip(FILTERS, taken, strict=True)}
        answers.append([rows(text) for text in FILTERS])
    start = time.perf_counter()
    embeddb_columns(store)
    results["embeddb"]["columns taken up at the next start, s"] = time.perf_counter() - start
    for text, ours, theirs in zip(FILTERS, *answers, strict=True):
        np.testing.assert_array_equal(ours, theirs, text)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(CollectionStore(Path(folder) / "c", "c", create=True)) as store,
    ):
        fill(store, options.items)
        results = measure(store, options.rounds)
    print(f"{options.items:,} items; medians of {options.rounds}")
    about = {"items": options.items, "rounds": options.rounds, "pyarrow": pa.__version__}
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
