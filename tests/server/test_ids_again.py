"""An id that one call names again: all is as if its items had been put one after another."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddb.calls import CollectionCalls
from embeddb.collection import Collection as EngineCollection
from embeddb.database import Database
from embeddb.query import PutItem, PutResults, PutStatus
from embeddb_client import AsyncClient, Client, Collection
from embeddb_client.batches import BATCH_ITEMS
from embeddb_server import Server
from tests.conftest import DIMENSION, PHOTOS

VECTORS = np.eye(DIMENSION, dtype=np.float32)
REFUSED = DIMENSION + 1
"""So many numbers are no vector of this space."""
_numbers = itertools.count()

puts = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, REFUSED]), st.integers(0, 1)), max_size=12
)


def item(item_id: str, vector: int, n: int = 0) -> PutItem:
    features = np.ones(REFUSED) if vector == REFUSED else VECTORS[vector]
    return PutItem(item_id, metadata={"n": n}, features={"given": features})


def expected(stored: dict[str, tuple[int, int]], item_id: str, vector: int, n: int) -> PutStatus:
    """What a put says, and does to what is stored."""
    if vector == REFUSED:
        return PutStatus.FAILED
    before, stored[item_id] = stored.get(item_id), (vector, n)
    if before is None:
        return PutStatus.CREATED
    return PutStatus.UNCHANGED if before == (vector, n) else PutStatus.REPLACED


@pytest.mark.parametrize("where", ["in process", "over gRPC"])
@settings(max_examples=40, deadline=None)
@given(calls=st.lists(puts, max_size=3))
def test_every_result_is_true(
    calls: list[list[tuple[str, int, int]]], where: str, database: Database, client: Client
) -> None:
    name = f"again-{next(_numbers)}"
    made = database.create_collection(name, ["given"])
    collection: CollectionCalls = made if where == "in process" else client.collection(name)
    stored: dict[str, tuple[int, int]] = {}
    for call in calls:
        results = collection.put_many([item(*each) for each in call])
        assert [result.id for result in results] == [item_id for item_id, _, _ in call]
        assert [result.status for result in results] == [expected(stored, *each) for each in call]
    assert {each.id: each.metadata["n"] for each in collection.items()} == {
        item_id: n for item_id, (_, n) in stored.items()
    }
    for each in collection.get_many(list(stored)):
        assert each.metadata == {"n": stored[each.id][1]}
    database.drop_collection(name)


def test_the_content_is_compared(make_collection: Callable[..., Collection]) -> None:
    photos = make_collection("tiny")
    cat, cup = PHOTOS / "chelsea.png", PHOTOS / "coffee.png"
    again = [
        PutItem("a", cat),
        PutItem("a", cat),
        PutItem("a", cup),
        PutItem("a", b"no image"),
        PutItem("b", cat),
    ]
    assert [result.status for result in photos.put_many(again)] == [
        "created", "unchanged", "replaced", "failed", "created"
    ]  # fmt: skip
    assert photos.get("a", with_payload=True).payload.read() == cup.read_bytes()


@pytest.fixture
def tardy(database: Database, monkeypatch: pytest.MonkeyPatch) -> EngineCollection:
    """A collection that takes its time with a full batch, so that what comes behind could overtake it."""
    made = database.create_collection(f"again-{next(_numbers)}", ["given"])
    put_many = made.put_many

    def tardily(items: list[PutItem]) -> PutResults:
        if len(items) == BATCH_ITEMS:
            time.sleep(0.3)
        return put_many(items)

    monkeypatch.setattr(made, "put_many", tardily)
    return made


# More than a message holds, in each of which `a` is.
LONG = [item("a", 0), *(item(f"{n}", 0) for n in range(BATCH_ITEMS)), item("a", 1), item("z", 1)]


def test_batches_under_way_do_not_overtake(tardy: EngineCollection, client: Client) -> None:
    results = client.collection(tardy.name).put_many(LONG)
    assert (results[0].status, results[-2].status) == ("created", "replaced")
    assert np.array_equal(tardy.get("a", with_features=True).features["given"], VECTORS[1])


def test_nor_in_an_event_loop(tardy: EngineCollection, server: Server) -> None:
    async def scenario() -> PutResults:
        async with AsyncClient(server.address, collection=tardy.name) as client:
            return await client.put_many(LONG)

    results = asyncio.run(scenario())
    assert (results[0].status, results[-2].status) == ("created", "replaced")
    assert np.array_equal(tardy.get("a", with_features=True).features["given"], VECTORS[1])
