"""Arguments of other kinds than were asked for: the engine and both clients refuse them alike."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from embeddb.database import Database
from embeddb.errors import InvalidArgumentError
from embeddb.query import Image
from embeddb_client import AsyncClient, Client
from embeddb_server import Server

Call = Callable[[Any], Any]

CALLS: dict[str, Call] = {
    "filter": lambda c: c.search("a", filter=3),
    "filter of a deletion": lambda c: c.delete_where(3),
    "k": lambda c: c.search("a", k="3"),
    "a model": lambda c: c.search("a", model=["starter"]),
    "an option": lambda c: c.search("a", group="label"),
    "a part of the view": lambda c: c.search("a", with_payload="yes"),
    "a search": lambda c: c.search_many("a cat"),
    "a question": lambda c: c.ask("a cat"),
    "a threshold": lambda c: c.verify("a", "b", "0.5"),
    "an item": lambda c: c.put_many([("a",)]),
    "items": lambda c: c.put_many(5),
    "an id of an item": lambda c: c.put(5, "text"),
    "metadata": lambda c: c.put("a", "text", ""),
    "features": lambda c: c.put("a", features=[1, 2]),
    "ids": lambda c: c.get_many("abc"),
    "an id": lambda c: c.delete_many([5]),
    "a page": lambda c: c.list_items(page_size="10"),
    "a long page": lambda c: c.list_items(page_size=2**40),
    "a prefix": lambda c: c.list_items(prefix=None),
    "half a surrogate pair in a prefix": lambda c: c.list_items(prefix="\ud800"),
    "half a surrogate pair in a filter": lambda c: c.search([1, 2, 3, 4], filter="a == '\ud800'"),
    "half a surrogate pair in a model's name": lambda c: c.drop_model("\ud800"),
    "a view": lambda c: c.get_many(["a"], view="payload"),
    "a number beyond all floats": lambda c: c.search([10**400]),
    "a box": lambda c: c.search(Image(b"a", 5)),
    "a backfill": lambda c: c.backfill(None),
    "a collection's model": lambda c: c.add_model(3),
    "a dropped model": lambda c: c.drop_model("starter", force="yes"),
}
SERVER_CALLS: dict[str, Call] = {
    "a name": lambda db: db.create_collection(5, ["starter"]),
    "models as letters": lambda db: db.create_collection("made", "starter"),
    "a model twice": lambda db: db.create_collection("made", ["starter", "starter"]),
    "models": lambda db: db.create_collection("made", [5]),
    "settings": lambda db: db.create_collection("made", ["starter"], {"metric": "l2"}),
    "no spec": lambda db: db.register_model("made", None),
    "a spec as text": lambda db: db.register_model("made", "starter"),
    "a spec that is no JSON": lambda db: db.register_model("made", {"loader": {"a"}}),
    "run options": lambda db: db.register_model("made", {"loader": "starter"}, "cpu"),
    "contents as letters": lambda db: db.embed_many("starter", "a cat"),
    "a content": lambda db: db.embed("starter", 5),
    "a model's name": lambda db: db.model(5),
    "a loaded model": lambda db: db.load_model(None),
    "a collection": lambda db: db.drop_collection(None),
}


@pytest.mark.parametrize("call", [*CALLS.values(), *SERVER_CALLS.values()], ids=[*CALLS, *SERVER_CALLS])
def test_all_refuse_it_in_the_same_words(
    call: Call, database: Database, server: Server, client: Client
) -> None:
    with pytest.raises(InvalidArgumentError) as engine:
        call(database.collection() if call in CALLS.values() else database)
    with pytest.raises(InvalidArgumentError) as over_grpc:
        call(client)

    async def awaited() -> None:
        async with AsyncClient(server.address) as asynchronous:
            made = call(asynchronous)
            if inspect.isawaitable(made):
                await made

    with pytest.raises(InvalidArgumentError) as by_asyncio:
        asyncio.run(awaited())
    assert str(engine.value) == str(over_grpc.value)
    assert by_asyncio.value.details["field"] == over_grpc.value.details["field"]
    assert over_grpc.value.request_id is None  # Nothing was sent.
    assert "made" not in {info.name for info in client.collections()}
