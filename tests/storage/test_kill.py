"""SIGKILL at random moments: what was acknowledged is there, what was not is there whole or not at all.

A child process puts, replaces and deletes with two writers at once, and notes every call that returned. It is
killed; then the folder is opened and compared with what a dict would hold, in storage and in the index.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

import embeddb
from embeddb.collection import Collection
from embeddb.query import PutItem, Search, Vector, View
from embeddb.storage import verify

DIMENSION = 8
WRITERS = 2
IDS = 100

State = dict[str, int]
"""The items by id, each as the seed from which it was made."""


def call(writer: int, number: int) -> tuple[list[str], list[int] | None]:
    """What a writer does in its call of that number: the ids, and seeds for a put or None for a delete."""
    rng = random.Random(writer << 32 | number)
    ids = [f"{writer}-{n}" for n in rng.sample(range(IDS), rng.randint(1, 50))]
    return ids, None if rng.random() < 0.3 else [number * 1000 + n for n in range(len(ids))]


def item(item_id: str, seed: int) -> PutItem:
    return PutItem(item_id, f"text {seed}", {"seed": seed}, {"given": features(seed)})


def features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)


def after(state: State, writer: int, number: int) -> State:
    """What the items of a writer are after one more call."""
    ids, seeds = call(writer, number)
    if seeds is None:
        return {item_id: seed for item_id, seed in state.items() if item_id not in ids}
    return {**state, **dict(zip(ids, seeds, strict=True))}


def child(data: Path, first_calls: list[int]) -> None:
    """Write until killed; the length of each writer's note is the number of its calls that returned."""
    collection = embeddb.open(data).collection()

    def write(writer: int) -> None:
        note = os.open(data.parent / f"note-{writer}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        number = first_calls[writer]
        while True:
            ids, seeds = call(writer, number)
            if seeds is None:
                collection.delete_many(ids)
            else:
                results = collection.put_many(map(item, ids, seeds))
                assert not results.failed
            os.write(note, b".")
            number += 1

    for writer in range(WRITERS):
        threading.Thread(target=write, args=(writer,)).start()


def wait_for_a_moment(process: BaseProcess, folder: Path, rng: random.Random) -> None:
    """Wait until some number of calls returned, and then for a random part of the next ones.

    Where that number is 0, the folder may still be being opened.
    """
    calls = rng.randrange(12)
    notes = [folder / f"note-{writer}" for writer in range(WRITERS)]
    while calls and not all(note.exists() and note.stat().st_size >= calls for note in notes):
        process.join(0.005)
        assert process.is_alive(), f"the child ended by itself with {process.exitcode}"
    process.join(rng.uniform(0, 0.03 if calls else 0.5))


def acknowledged(folder: Path, writer: int) -> int:
    note = folder / f"note-{writer}"
    count = note.stat().st_size if note.exists() else 0
    note.unlink(missing_ok=True)
    return count


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.nightly)])
def test_kill_9_loses_nothing_and_halves_nothing(tmp_path: Path, kills: int) -> None:
    data = tmp_path / "data"
    with embeddb.open(data) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        database.collection().add_model("given")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["embeddb.database"])
    states: list[State] = [{} for _ in range(WRITERS)]
    numbers = [0] * WRITERS
    for kill in range(kills):
        process = processes.Process(target=child, args=(data, numbers))
        process.start()
        wait_for_a_moment(process, tmp_path, random.Random(kill))
        process.kill()
        process.join()
        assert verify(data) == []
        with embeddb.open(data) as database:
            found = contents(database.collection())
        for writer in range(WRITERS):
            for _ in range(acknowledged(tmp_path, writer)):
                states[writer] = after(states[writer], writer, numbers[writer])
                numbers[writer] += 1
            mine = {item_id: seed for item_id, seed in found.items() if item_id.startswith(f"{writer}-")}
            if mine != states[writer]:
                # The call under way was not acknowledged, but it may have been committed: then all of it.
                states[writer] = after(states[writer], writer, numbers[writer])
                numbers[writer] += 1
                assert mine == states[writer]


def contents(collection: Collection) -> State:
    """The items, after a check that every part of each is of the same put and that the index agrees."""
    state: State = {}
    for stored in collection.items(view=View(payload=True, features=True)):
        seed = stored.metadata["seed"]
        assert stored.payload == embeddb.Text(f"text {seed}")
        assert np.array_equal(stored.features["given"], features(seed))
        state[stored.id] = seed
    if state:
        found = collection.search_many(Search([Vector(np.ones(DIMENSION))], k=len(state) + 10))[0]
        scores = {hit.id: hit.score for hit in found}
        expected = {item_id: cosine_to_ones(features(seed)) for item_id, seed in state.items()}
        assert scores == pytest.approx(expected, abs=1e-5)
    return state


def cosine_to_ones(each: np.ndarray) -> float:
    return float(each.sum() / np.linalg.norm(each) / DIMENSION**0.5)
