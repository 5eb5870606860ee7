"""Where calls run: what is quick on the event loop's thread, everything else on threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from unittest.mock import Mock

import numpy as np
import pytest
from grpc_health.v1 import health, health_pb2

from embeddb.collection import Collection as Engine
from embeddb.database import Database
from embeddb.errors import EmbeddbError, NotFoundError, or_raise
from embeddb.options import Effort
from embeddb.query import CollectionSettings, Hit, HitColumns, PutItem, Search
from embeddb_client import Client, Collection
from embeddb_server import gathering
from embeddb_server.gathering import Gathering
from embeddb_server.handlers import Asked, Call
from embeddb_server.server import Server

VECTOR = [1.0, 0.0, 0.0, 0.0]
PLAIN = Search([VECTOR], 2)


@pytest.fixture(scope="module")
def collection(database: Database, client: Client) -> Collection:
    """A collection that has an approximate index."""
    engine = database.create_collection("on-the-loop", ["given"], CollectionSettings(index="IVF4,Flat"))
    vectors = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)
    engine.put_many(
        [PutItem(f"{n}", features={"given": each}, metadata={"n": n}) for n, each in enumerate(vectors)]
    )
    engine.settle()
    return client.collection("on-the-loop")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of threads that searched."""
    names: list[str] = []
    search_columns = Engine.search_columns

    def noted(engine: Engine, search: Search, *, here: bool) -> HitColumns:
        names.append(threading.current_thread().name.partition("_")[0])
        return search_columns(engine, search, here=here)

    monkeypatch.setattr(Engine, "search_columns", noted)
    return names


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, nothing takes too long."""
    monkeypatch.setattr(gathering, "QUICK_SECONDS", 3600.0)
    monkeypatch.setattr(gathering, "LONG_SECONDS", 3600.0)


def told(found: Sequence[Sequence[Hit] | EmbeddbError]) -> list[list[tuple[str, float]]]:
    """The hits of a search, as far as they can be compared."""
    return [[(hit.id, hit.score) for hit in or_raise(hits)] for hits in found]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("search", "thread"),
    [
        (PLAIN, "grpc"),
        (Search([VECTOR], 2, "given", effort=Effort.SPEED), "grpc"),
        (Search([VECTOR, VECTOR], 2), "call"),
        (Search([VECTOR], 51), "call"),
        (Search([VECTOR], 2, filter="n < 300"), "call"),
        (Search([VECTOR], 2, effort=Effort.EXACT), "call"),
        (Search([VECTOR], 2, explain=True), "call"),
        (Search(["7"], 2, "starter"), "call"),
    ],
    ids=["plain", "speed", "batch", "many hits", "filter", "exact", "explain", "text"],
)
def test_only_a_plain_search_stays_on_the_loop(
    search: Search, thread: str, collection: Collection, threads: list[str]
) -> None:
    if search.model == "starter":
        with pytest.raises(NotFoundError):
            collection.search_many(search)
    else:
        found = told(collection.search_many(search))
        assert [told(each) for each in collection.stream_search([search, search])] == [found, found]
        # A stream begins on a thread.
        del threads[1]
    assert set(threads) == {thread}


@pytest.mark.usefixtures("patient")
def test_a_collection_without_an_index_is_searched_on_a_thread(client: Client, threads: list[str]) -> None:
    client.create_collection("on-the-loop-without", ["given"]).search(VECTOR)
    assert threads == ["call"]


@pytest.mark.usefixtures("patient")
def test_an_error_on_the_loop_is_the_call_s(collection: Collection, threads: list[str]) -> None:
    zero = Search([[0.0] * 4], 2)
    (refused,) = collection.search_many(zero)
    assert "zero vector" in str(refused)
    with pytest.raises(NotFoundError, match="no model of collection 'on-the-loop' named 'nobody'"):
        collection.search(VECTOR, model="nobody")
    found, again = map(told, collection.stream_search([PLAIN, PLAIN]))
    assert found == again
    assert threads == ["grpc", "call", "call", "grpc"]


@pytest.mark.usefixtures("patient")
def test_who_asks_at_the_same_time_is_answered_together(
    server: Server, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(1).standard_normal((12, 4)).astype(np.float32)
    searches = [Search([each], 2) for each in vectors] + [Search([[0.0] * 4], 2), Search([VECTOR], 3)]
    alone = [collection.search_many(each) for each in searches]
    together: list[int] = []
    search_columns = Engine.search_columns

    def noted(engine: Engine, search: Search, *, here: bool) -> HitColumns:
        together.append(len(search.expressions))
        return search_columns(engine, search, here=here)

    monkeypatch.setattr(Engine, "search_columns", noted)
    # gRPC hands over one request after the other, and on a busy machine the usual turns end before the next.
    monkeypatch.setattr(gathering, "TURNS", 2000)
    # All of them arrive while the loop is busy, however long it takes them to begin.
    begun, arrived = threading.Barrier(len(searches) + 1), threading.Event()

    def ask(search: Search) -> list[list[Hit] | EmbeddbError]:
        begun.wait(20)
        return collection.search_many(search)

    server._loop.call_soon_threadsafe(arrived.wait, 20)
    with ThreadPoolExecutor(len(searches)) as callers:
        asked = [callers.submit(ask, each) for each in searches]
        begun.wait(20)
        time.sleep(0.5)
        arrived.set()
        found = [each.result() for each in asked]
    assert max(together) > 1
    assert sum(together) == len(searches)
    assert list(map(str, found[12])) == list(map(str, alone[12]))
    for each, expected in zip(found[:12] + found[13:], alone[:12] + alone[13:], strict=True):
        ((hits,), (wanted,)) = told(each), told(expected)
        assert [hit_id for hit_id, _ in hits] == [hit_id for hit_id, _ in wanted]
        assert [score for _, score in hits] == pytest.approx([score for _, score in wanted])


@pytest.mark.usefixtures("patient")
def test_a_stream_that_waits_for_its_next_request_is_no_company(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[bool] = []
    settle = Gathering.settle

    async def noted(gathering: Gathering, asked: Asked[object, object], **who: bool) -> None:
        alone.append(who["alone"])
        await settle(gathering, asked, **who)

    monkeypatch.setattr(Gathering, "settle", noted)
    sent = SimpleQueue[Search | None]()
    answers = collection.stream_search(iter(sent.get, None))
    for _ in range(2):
        sent.put(PLAIN)
        next(answers)
    # The first one is answered on a thread.
    assert len(alone) == 1
    time.sleep(0.1)
    collection.search_many(PLAIN)
    sent.put(None)
    assert not list(answers)
    assert alone[1:] == [True]


def test_what_takes_long_goes_to_the_threads_for_a_while(
    collection: Collection, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "QUICK_SECONDS", 0.0)
    monkeypatch.setattr(gathering, "PAUSE_SECONDS", 0.5)
    time.sleep(0.6)  # Whatever the tests before have taken is forgotten.
    for _ in range(3):
        collection.search_many(PLAIN)
    assert threads == ["grpc", "call", "call"]
    time.sleep(0.6)
    collection.search_many(PLAIN)
    assert threads[3:] == ["grpc"]


def test_one_that_takes_very_long_sends_the_next_ones_to_the_threads(
    collection: Collection, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(gathering, "LONG_PAUSES", 1000)
    time.sleep(0.6)
    for _ in range(2):
        collection.search_many(PLAIN)
    assert threads == ["grpc", "call"]


@pytest.mark.usefixtures("collection")
def test_nothing_is_searched_on_the_loop_while_storage_lets_no_reader_in(database: Database) -> None:
    engine = database.collection("on-the-loop")
    assert engine.is_prompt(None)
    with engine._store._env._gate.alone():
        assert not engine.is_prompt(None)
    assert engine.is_prompt(None)


def test_what_is_to_be_called_at_the_end_of_a_call_that_has_ended_is_called() -> None:
    call, ended = Call(Mock()), list[str]()
    assert call.add_callback(lambda: ended.append("before"))
    assert not ended
    call.end()
    assert not call.add_callback(lambda: ended.append("after"))
    call.end()
    assert ended == ["before", "after"]


def test_health_forgets_who_watches_and_left_before_it_began() -> None:
    servicer, call = health.HealthServicer(), Call(Mock())
    call.end()
    assert list(servicer.Watch(health_pb2.HealthCheckRequest(), call))
    assert not servicer._send_response_callbacks[""]
