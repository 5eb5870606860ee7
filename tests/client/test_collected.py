"""A load leaves no object for each of its items that Python's garbage collector would look at ever after."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.query import PutItem, PutResults
from embeddb_client import AsyncClient
from embeddb_server import Server

COUNT = 5000

Put = Callable[[list[PutItem]], PutResults]


@pytest.fixture(params=["in process", "client", "asyncio"])
def put(request: pytest.FixtureRequest, database: Database, server: Server) -> Put:
    made: CollectionCalls = request.getfixturevalue("make_collection")("given")

    async def put_beside_a_loop(items: list[PutItem]) -> PutResults:
        async with AsyncClient(server.address) as client:
            return await client.collection(made.name).put_many(items)

    ways: dict[str, Put] = {
        "in process": database.collection(made.name).put_many,
        "client": made.put_many,
        "asyncio": lambda items: asyncio.run(put_beside_a_loop(items)),
    }
    return ways[request.param]


def test_results_are_no_objects_until_they_are_asked_for(put: Put) -> None:
    items = [PutItem(f"{n:04}", features={"given": [1, 2, 3, n]}) for n in range(COUNT)]
    put(items[:10])
    gc.collect()
    before = len(gc.get_objects())
    results = put(items)
    gc.collect()
    more = len(gc.get_objects()) - before
    assert len(results) == COUNT
    assert more < COUNT / 20
