"""A closed client says so, whatever it is asked; a call that the closing meets says so, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from embeddb.errors import CancelledError, EmbeddbError, UnavailableError
from embeddb.query import PutItem, Search
from embeddb_client import AsyncClient, Client
from embeddb_client.batches import BATCH_ITEMS
from embeddb_server import Server
from tests.conftest import DIMENSION

ITEM = PutItem("a", features={"given": [1.0] * DIMENSION})
CALLS: dict[str, Callable[[Any], Any]] = {
    "a call": lambda c: c.stats(),
    "a listing": lambda c: c.models(),
    "pages": lambda c: c.items(),
    "puts": lambda c: c.put_many([ITEM]),
    "a stream": lambda c: c.stream_search([Search([[1.0, 0.0]])]),
    "progress": lambda c: c.backup("late"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_client_says_so(call: Callable[[Any], Any], server: Server) -> None:
    client = Client(server.address)
    assert client.stats().version
    client.close()
    client.close()
    with pytest.raises(UnavailableError, match="the client is closed"):
        list(call(client))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_client_of_an_event_loop_says_so(call: Callable[[Any], Any], server: Server) -> None:
    async def scenario() -> None:
        client = AsyncClient(server.address)
        assert (await client.stats()).version
        await client.close()
        await client.close()
        made = call(client)
        with pytest.raises(UnavailableError, match="the client is closed"):
            await (anext(made) if hasattr(made, "__anext__") else made)

    asyncio.run(scenario())


def test_closing_ends_what_is_under_way(server: Server) -> None:
    client = Client(server.address)

    def items() -> Iterator[PutItem]:
        for n in range(2 * BATCH_ITEMS):
            yield PutItem(f"{n}", features={"nobody's": [1.0]})
        client.close()
        yield ITEM

    with pytest.raises(EmbeddbError) as caught:
        client.put_many(items())
    assert isinstance(caught.value, UnavailableError | CancelledError)


def test_a_collection_of_a_closed_client_is_closed(server: Server) -> None:
    with Client(server.address) as client:
        collection = client.collection()
    with pytest.raises(UnavailableError, match="the client is closed"):
        collection.info()
