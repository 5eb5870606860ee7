"""The client for asyncio: the same surface, the same answers, and what only it can do."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embeddb
from embeddb.database import Database
from embeddb.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from embeddb.query import Image, PutItem, PutStatus, Search, View
from embeddb.questions import Compare
from embeddb_client import Access, AsyncClient, AsyncCollection, Client, Collection
from embeddb_client.batches import BATCH_ITEMS, IN_FLIGHT
from embeddb_server import Server
from embeddb_server.keys import KeyFile, Role
from tests.conftest import PHOTOS

MakeCollection = Callable[..., Collection]
Scenario = Callable[[AsyncCollection], Coroutine[Any, Any, Any]]


def run(server: Server, name: str, scenario: Scenario) -> Any:
    """Run a scenario in an event loop of its own, on a client whose collection is the named one."""

    async def in_loop() -> Any:
        async with AsyncClient(server.address, collection=name) as client:
            return await scenario(client)

    return asyncio.run(asyncio.wait_for(in_loop(), 60))


def vectors(count: int) -> Iterator[PutItem]:
    rng = np.random.default_rng(0)
    return (PutItem(f"{n:04}", None, {"n": n}, {"given": rng.normal(size=4)}) for n in range(count))


@pytest.mark.parametrize(("one", "other"), [(Client, AsyncClient), (Collection, AsyncCollection)])
def test_both_clients_have_the_same_surface(one: type, other: type) -> None:
    def surface(kind: type) -> dict[str, list[tuple[str, object, object]]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
            for name, method in methods
            if not name.startswith("_")
        }

    assert surface(one) == surface(other)
    for name in surface(other).keys() - {"collection"}:
        method = getattr(other, name)
        assert inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method), name


def test_what_one_client_stores_the_other_finds(server: Server, make_collection: MakeCollection) -> None:
    name = make_collection("starter").name

    async def scenario(photos: AsyncCollection) -> None:
        assert await photos.put("cat", PHOTOS / "chelsea.png", {"kind": "pet"}) == PutStatus.CREATED
        assert await photos.put("cup", Image(PHOTOS / "coffee.png")) == PutStatus.CREATED
        hits = await photos.search("a pet that purrs", 1, with_payload=True)
        assert (hits[0].id, hits[0].item.payload) == ("cat", Image((PHOTOS / "chelsea.png").read_bytes()))
        item = await photos.get("cat", with_features=True)
        assert (item.metadata, item.features["starter"].shape) == ({"kind": "pet"}, (384,))
        assert [item.id async for item in photos.items(prefix="cu")] == ["cup"]
        assert await photos.compare(hits[0].item.payload, embeddb.Item("cat")) == pytest.approx(1, abs=1e-3)
        assert (await photos.verify("a cat", "a cat", 0.5)).same
        assert await photos.delete_where("kind == 'pet'") == 1
        await photos.delete("cup")
        assert (await photos.info()).items == 0

    run(server, name, scenario)


def test_both_give_the_same_answers(client: Client, server: Server, make_collection: MakeCollection) -> None:
    collection = make_collection("given")
    collection.put_many(list(vectors(150)))
    searches = [Search(([1, 0, 0, n],), k=5, view=View(features=True)) for n in range(5)]

    async def scenario(other: AsyncCollection) -> None:
        for search in searches:
            ours, theirs = (await other.search_many(search))[0], collection.search_many(search)[0]
            assert [(hit.id, hit.score) for hit in ours] == [(hit.id, hit.score) for hit in theirs]
        streamed = [outcome async for outcome in other.stream_search(searches)]
        assert [[hit.id for hit in outcome[0]] for outcome in streamed] == [
            [hit.id for hit in outcome[0]] for outcome in collection.stream_search(searches)
        ]
        question = Compare(([1, 0, 0, 0],), ([0, 1, 0, 0], [1, 0, 0, 1]))
        assert np.array_equal(await other.ask(question), collection.ask(question))
        assert [item.id async for item in other.items()] == [item.id for item in collection.items()]
        assert (await other.list_items(page_size=7)).next_token == collection.list_items(
            page_size=7
        ).next_token

    run(server, collection.name, scenario)

    async def catalogue() -> None:
        async with AsyncClient(server.address) as other:
            assert await other.models() == client.models()
            assert await other.model("given") == client.model("given")
            assert await other.collections() == client.collections()
            embedding = await other.embed("starter", "a cat")
            assert np.allclose(embedding.features, client.embed("starter", "a cat").features, atol=1e-6)
            assert (await other.stats()).version == embeddb.__version__
            await other.register_model("short", {"loader": "vectors", "dimension": 2})
            made = await other.create_collection("made-in-a-loop")
            await made.add_model("short")
            assert (await made.info()).models == ("short",)
            await other.drop_collection("made-in-a-loop")
            await other.remove_model("short")

    asyncio.run(catalogue())


class Counting(ThreadPoolExecutor):
    """An event loop's threads, and how often they were asked for something."""

    asked = 0

    def submit(self, *arguments: Any, **named: Any) -> Any:
        self.asked += 1
        return super().submit(*arguments, **named)


def test_only_pictures_and_long_searches_are_left_to_threads(
    server: Server, make_collection: MakeCollection
) -> None:
    async def scenario(collection: AsyncCollection) -> None:
        threads = Counting()
        asyncio.get_running_loop().set_default_executor(threads)
        await collection.put_many(vectors(100))
        near = embeddb.Vector([1, 0, 0, 0])
        hits = await collection.search(0.5 * near - embeddb.Item("0001"), 3)
        streamed = [found async for found in collection.stream_search([Search((near,), k=3)])]
        assert len(hits) == len(streamed[0][0]) == 3
        assert threads.asked == 0
        assert len(await collection.search_many(Search((near,) * 100))) == 100
        assert threads.asked == 1

    run(server, make_collection("given").name, scenario)

    async def pictures(collection: AsyncCollection) -> None:
        threads = Counting()
        asyncio.get_running_loop().set_default_executor(threads)
        await collection.put("cat", PHOTOS / "chelsea.png")
        assert threads.asked == 1
        await collection.search(0.5 * embeddb.Item("cat") + Image(PHOTOS / "coffee.png"))
        assert threads.asked == 2

    run(server, make_collection("starter").name, pictures)


def test_items_come_from_an_async_generator_as_the_server_keeps_up(
    server: Server, make_collection: MakeCollection
) -> None:
    collection = make_collection("given")
    given, done = 0, 0

    async def source() -> AsyncIterator[PutItem]:
        nonlocal given
        for item in vectors(4 * BATCH_ITEMS):
            given += 1
            # What is neither done nor under way is no more than the batch that is being gathered.
            assert given - done <= (IN_FLIGHT + 1) * BATCH_ITEMS + 1
            yield item

    def progress(results: object) -> None:
        nonlocal done
        done += len(results)  # type: ignore[arg-type]

    async def scenario(other: AsyncCollection) -> None:
        results = await other.put_many(source(), on_progress=progress)
        assert [result.id for result in results] == [f"{n:04}" for n in range(4 * BATCH_ITEMS)]

    run(server, collection.name, scenario)
    assert done == collection.info().items == 4 * BATCH_ITEMS


def test_items_fail_alone(server: Server, make_collection: MakeCollection) -> None:
    async def scenario(photos: AsyncCollection) -> None:
        results = await photos.put_many(
            [
                PutItem("cat", PHOTOS / "chelsea.png"),
                PutItem("missing", PHOTOS / "missing.png"),
                PutItem("broken", b"no picture"),
            ]
        )
        assert [result.status == "failed" for result in results] == [False, True, True]
        with pytest.raises(InvalidArgumentError, match="cannot be read"):
            await photos.put("missing", PHOTOS / "missing.png")
        with pytest.raises(NotFoundError, match="'missing'") as caught:
            await photos.get("missing")
        assert caught.value.details["resource"] == "item"

    run(server, make_collection("tiny").name, scenario)


def test_a_refused_call_raises_our_errors(server: Server, make_collection: MakeCollection) -> None:
    async def scenario(collection: AsyncCollection) -> None:
        with pytest.raises(NotFoundError, match="'nix'") as caught:
            await collection.add_model("nix")
        assert caught.value.request_id
        refused = [Search(([1, 0, 0, 0],)), Search(([1, 0, 0, 0],), model="nix"), Search(([1, 0, 0, 0],))]
        answers = collection.stream_search(refused)
        assert await anext(answers) == [[]]
        with pytest.raises(NotFoundError, match="'nix'"):
            await anext(answers)

    run(server, make_collection("given").name, scenario)


def test_a_source_that_fails_ends_the_put_with_its_error(
    server: Server, make_collection: MakeCollection
) -> None:
    collection = make_collection("given")

    def source() -> Iterator[PutItem]:
        yield from vectors(4 * BATCH_ITEMS)
        raise OSError("the disk is gone")

    async def scenario(other: AsyncCollection) -> None:
        with pytest.raises(OSError, match="the disk is gone"):
            await other.put_many(source())

    run(server, collection.name, scenario)
    # The third batch is only sent once the first one is acknowledged.
    assert collection.info().items >= BATCH_ITEMS


def test_searches_that_cannot_be_made_end_the_stream_with_their_error(
    server: Server, make_collection: MakeCollection
) -> None:
    def searches() -> Iterator[Search]:
        yield Search(([1, 0, 0, 0],))
        raise OSError("the disk is gone")

    collection = make_collection("given")
    answers = collection.stream_search(searches())
    assert next(answers) == [[]]
    with pytest.raises(OSError, match="the disk is gone"):
        next(answers)

    async def scenario(other: AsyncCollection) -> None:
        answers = other.stream_search(searches())
        assert await anext(answers) == [[]]
        with pytest.raises(OSError, match="the disk is gone"):
            await anext(answers)

    run(server, collection.name, scenario)


def test_a_stream_that_is_left_early_ends(server: Server, make_collection: MakeCollection) -> None:
    async def scenario(collection: AsyncCollection) -> None:
        async def endless() -> AsyncIterator[Search]:
            while True:
                yield Search(([1, 0, 0, 0],))

        answers = collection.stream_search(endless())
        assert await anext(answers) == [[]]
        await answers.aclose()  # type: ignore[attr-defined]

    run(server, make_collection("given").name, scenario)


def test_a_call_that_is_cancelled(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = database.stats

    async def scenario(client: AsyncCollection) -> None:
        assert isinstance(client, AsyncClient)
        call = asyncio.create_task(client.stats())
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        monkeypatch.setattr(database, "stats", real)
        assert (await client.stats()).version == embeddb.__version__

    monkeypatch.setattr(database, "stats", lambda: (time.sleep(0.5), real())[1])
    run(server, "default", scenario)


def test_deadlines_and_servers_that_are_not_there(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = database.stats

    monkeypatch.setattr(database, "stats", lambda: (time.sleep(0.5), real())[1])

    async def scenario() -> None:
        async with AsyncClient(server.address, timeout=0.05) as client:
            with pytest.raises(DeadlineExceededError):
                await client.stats()
        async with AsyncClient("127.0.0.1:1", timeout=10) as client:
            with pytest.raises(UnavailableError):
                await client.delete("a")

    asyncio.run(scenario())


def test_many_calls_at_once(server: Server, make_collection: MakeCollection) -> None:
    collection = make_collection("given")
    collection.put_many(list(vectors(20)))

    async def scenario(other: AsyncCollection) -> None:
        items = [await other.get(f"{n:04}", with_features=True) for n in range(20)]
        found = await asyncio.gather(*(other.search(item.features["given"], 1) for item in items * 5))
        assert [hits[0].id for hits in found] == [item.id for item in items * 5]

    run(server, collection.name, scenario)


def test_a_key_goes_with_every_call(database: Database, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    secret = keys.add("me", Role.READ)
    server = Server(database, keys=keys)
    server.start()

    async def scenario() -> None:
        async with AsyncClient(server.address, access=Access(api_key=secret)) as client:
            assert (await client.stats()).version == embeddb.__version__
            with pytest.raises(NotFoundError, match="'nix'"):
                await anext(client.collection("nix").stream_search([Search(([1, 0],))]))
        async with AsyncClient(server.address) as nobody:
            with pytest.raises(UnauthenticatedError):
                await nobody.stats()

    asyncio.run(scenario())
    server.stop(drain_seconds=1)
