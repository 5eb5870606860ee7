"""Threads with much to do get long slices of time, and nothing else about them changes."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

import embeddb
from embeddb.index.approximate import Approximate
from embeddb.ingest import Ingest
from embeddb.query import CollectionSettings, PutItem
from embeddb.storage import writing
from embeddb.time_slice import LONG_SECONDS, long_slice, slice_seconds

R = TypeVar("R")

DIMENSION = 8
has_slices = pytest.mark.skipif(slice_seconds() is None, reason="this system has one slice for all threads")


def on_a_thread(work: Callable[[], R]) -> R:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@has_slices
def test_a_slice_is_long_within_the_block() -> None:
    def work() -> tuple[float | None, ...]:
        before = slice_seconds()
        with long_slice():
            within = slice_seconds()
            with long_slice():
                pass
            again = slice_seconds()
        with pytest.raises(ZeroDivisionError), long_slice():
            raise ZeroDivisionError
        return before, within, again, slice_seconds()

    before, within, again, after = on_a_thread(work)
    assert within == again == LONG_SECONDS
    assert before == after != LONG_SECONDS


def test_a_lower_priority_stays() -> None:
    def work() -> tuple[int, int]:
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, 5)
        with long_slice():
            within = os.getpriority(os.PRIO_PROCESS, thread)
        return within, os.getpriority(os.PRIO_PROCESS, thread)

    assert on_a_thread(work) == (5, 5)


def test_who_is_scheduled_by_other_rules_keeps_them() -> None:
    def work() -> tuple[int, float | None]:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with long_slice():
            return os.sched_getscheduler(0), slice_seconds()

    assert on_a_thread(work) == (os.SCHED_BATCH, None)


@has_slices
def test_who_commits_puts_and_adds_has_a_long_slice_and_who_searches_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[float | None]] = defaultdict(set)

    def watch(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def watched(*args: object, **named: object) -> object:
            seen[name].add(slice_seconds())
            return real(*args, **named)

        monkeypatch.setattr(owner, name, watched)

    watch(Approximate, "add")
    watch(Approximate, "search")
    watch(Ingest, "_compared")
    watch(writing, "_rows")
    vectors = np.random.default_rng(0).normal(size=(4000, DIMENSION)).astype(np.float32)
    items = [PutItem(str(n), None, {}, {"given": vector}) for n, vector in enumerate(vectors)]

    mine = slice_seconds()
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.create_collection("c", ["given"], CollectionSettings(index="IVF8,SQ8"))
        for start in (0, 2000):
            collection.put_many(items[start : start + 2000])
            collection.settle()
        assert [hit.id for hit in collection.search(vectors[3000], k=1)] == ["3000"]
    assert seen["add"] == seen["_rows"] == seen["_compared"] == {LONG_SECONDS}
    assert seen["search"] == {mine}
    assert slice_seconds() == mine
