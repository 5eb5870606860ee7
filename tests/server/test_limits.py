"""Every limit: what is beyond it is refused by name, and what is at it is not."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import Mock

import grpc
import PIL.Image
import pytest
from google.protobuf.message import EncodeError

import embeddb
from embeddb.database import Database
from embeddb.errors import EmbeddbError, InvalidArgumentError, ResourceExhaustedError
from embeddb.query import (
    MAX_DEPTH,
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    MAX_OPERANDS,
    MAX_TEXT,
    Item,
    PutItem,
    Search,
    Text,
    View,
    unit,
)
from embeddb.questions import Compare
from embeddb.settings import ModelSettings
from embeddb_client import Client, Collection
from embeddb_protos.v1 import expressions_pb2, items_pb2, items_pb2_grpc, search_pb2, search_pb2_grpc
from embeddb_protos.wire.errors import error_from, error_from_call
from embeddb_server import Limits, Server
from embeddb_server.handlers import AbortedError, Call, Method
from embeddb_server.interceptor import ErrorInterceptor

R = TypeVar("R")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that allows little of anything."""
    models = ModelSettings(max_image_bytes=2000, max_image_pixels=100 * 100)
    with embeddb.open(tmp_path_factory.mktemp("narrow"), models=models) as database:
        database.register_model("tiny", {"loader": "timm", "architecture": "test_vit", "seed": 0})
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        database.collection().add_model("given")
        server = Server(database, limits=Limits(max_message_bytes=100_000, max_elements=5, max_streams=2))
        server.start()
        yield server
        server.stop(drain_seconds=1)


@pytest.fixture
def caller(narrow: Server) -> Iterator[Client]:
    with Client(narrow.address) as client:
        yield client


@pytest.fixture
def channel(narrow: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(narrow.address) as channel:
        yield channel


def test_a_message(caller: Client) -> None:
    assert caller.put("small", "x" * 90_000, features={"given": [1, 2]})
    with pytest.raises(ResourceExhaustedError, match=r"larger than max \(\d+ vs\. 100000\)"):
        caller.put("large", "x" * 100_000, features={"given": [1, 2]})


def test_a_response(caller: Client) -> None:
    for item in "one", "two":
        caller.put(item, "x" * 60_000, features={"given": [2, 1]})
    assert caller.get("one", with_payload=True)
    too_large = r"the response has 120,\d{3} bytes, and max_message_bytes allows 100,000: ask for fewer"
    with pytest.raises(ResourceExhaustedError, match=too_large):
        caller.get_many(["one", "two"], view=View(payload=True))
    with pytest.raises(ResourceExhaustedError, match=too_large):
        list(caller.stream_search([Search([[2, 1]], k=2, view=View(payload=True))]))
    assert len(caller.get_many(["one", "two"])) == 2


def test_a_response_that_no_message_holds() -> None:
    def write(response: object) -> bytes:
        raise EncodeError

    method = Method("/a.B/C", False, True, search_pb2.SearchRequest.FromString, write)
    guarded = ErrorInterceptor(Limits()).around(lambda request, call: iter([request]), method)
    call = Call(Mock(time_remaining=lambda: None, invocation_metadata=lambda: None))
    with pytest.raises(AbortedError, match="the response has more than 2 GiB, and max_message_bytes allows"):
        # In a context of its own, as gRPC has it: what a call sets there is not for other tests.
        copy_context().run(list, guarded(b"", call))


def test_an_image(caller: Client, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (100, 100)).save(tmp_path / "fits.png")
    PIL.Image.new("RGB", (100, 101)).save(tmp_path / "large.png")
    PIL.Image.effect_noise((90, 90), 50).save(tmp_path / "heavy.png")
    fits, large, heavy = caller.embed_many(
        "tiny", [tmp_path / "fits.png", tmp_path / "large.png", tmp_path / "heavy.png"]
    )
    assert not isinstance(fits, EmbeddbError)
    assert "must be at most 10,000 pixels" in str(large)
    assert "must be at most 2,000 bytes" in str(heavy)


def test_a_list(caller: Client) -> None:
    assert len(caller.get_many(list("abcde"))) == 5
    for call in (
        lambda: caller.get_many(list("abcdef")),
        lambda: caller.delete_many(list("abcdef")),
        lambda: caller.search_many(Search([[1, 0]] * 6)),
        lambda: caller.ask(Compare([[1, 0]] * 6)),
        lambda: caller.embed_many("tiny", ["a"] * 6),
    ):
        with pytest.raises(InvalidArgumentError, match=r"(ids|vectors|expressions|contents): '6 elements'"):
            call()


def test_a_list_in_a_stream(channel: grpc.Channel) -> None:
    batch = items_pb2.PutItemsRequest(items=[items_pb2.PutItem()] * 6)
    stub = items_pb2_grpc.ItemServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.StreamPutItems(iter([items_pb2.StreamPutItemsRequest(batch=batch)])))
    assert str(error_from_call(caught.value)).startswith("items: '6 elements' given, must have at most 5")


def test_a_list_as_columns(channel: grpc.Channel) -> None:
    request = items_pb2.PutItemsRequest(columns=items_pb2.PutColumns(ids=list("abcdef")))
    with pytest.raises(grpc.RpcError) as caught:
        items_pb2_grpc.ItemServiceStub(channel).PutItems(request)
    assert str(error_from_call(caught.value)).startswith("columns: '6 elements' given, must have at most 5")


def test_a_list_in_both_forms(channel: grpc.Channel) -> None:
    items = [items_pb2.PutItem(id=each) for each in "abc"]
    request = items_pb2.PutItemsRequest(items=items, columns=items_pb2.PutColumns(ids=list("def")))
    with pytest.raises(grpc.RpcError) as caught:
        items_pb2_grpc.ItemServiceStub(channel).PutItems(request)
    assert str(error_from_call(caught.value)).startswith("items: '6 elements' given, must have at most 5")


def eventually(call: Callable[[], R], refusal: type[Exception]) -> R:
    """What a call gives once it is not refused any more, which is to be soon."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return call()
        except refusal:
            assert time.monotonic() < deadline


def test_streams(caller: Client, channel: grpc.Channel) -> None:
    stub = search_pb2_grpc.SearchServiceStub(channel)
    request = search_pb2.SearchRequest(expressions=[expressions_pb2.Expression()])
    endless = itertools.repeat(search_pb2.StreamSearchRequest(request=request))
    streams = [stub.StreamSearch(endless) for _ in range(2)]
    for stream in streams:
        next(stream)
    with pytest.raises(grpc.RpcError) as caught:
        next(stub.StreamSearch(endless))
    error = error_from_call(caught.value)
    assert isinstance(error, ResourceExhaustedError)
    assert "max_streams" in str(error)
    caller.stats()  # Calls go on.
    streams[0].cancel()

    def opened() -> Iterator[search_pb2.StreamSearchResponse]:
        another = stub.StreamSearch(endless)
        next(another)
        return another

    another = eventually(opened, grpc.RpcError)
    for stream in (streams[1], another):
        stream.cancel()


def test_streams_that_are_silent(channel: grpc.Channel) -> None:
    stub, over = search_pb2_grpc.SearchServiceStub(channel), threading.Event()

    def nothing() -> Iterator[search_pb2.StreamSearchRequest]:
        over.wait(60)
        yield from ()

    streams = [stub.StreamSearch(nothing()) for _ in range(3)]
    # One of them: they come on threads of their own, in any order.
    refused = eventually(lambda: next(stream for stream in streams if stream.done()), StopIteration)
    with pytest.raises(grpc.RpcError) as caught:
        next(refused)
    assert "max_streams" in str(error_from_call(caught.value))
    over.set()
    assert [list(stream) for stream in streams if stream is not refused] == [[], []]


def test_calls(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(database, limits=Limits(max_calls=1))
    server.start()
    with grpc.insecure_channel(server.address) as channel, Client(server.address) as client:
        stream = search_pb2_grpc.SearchServiceStub(channel).StreamSearch(
            itertools.repeat(search_pb2.StreamSearchRequest())
        )
        next(stream)
        with pytest.raises(
            ResourceExhaustedError, match="1 calls are under way, and max_calls allows no more"
        ):
            client.stats()
        stream.cancel()
        assert eventually(client.stats, ResourceExhaustedError)
        assert client.stats()
    server.stop(drain_seconds=1)


def test_who_waits_for_each_answer_is_never_one_too_many(database: Database) -> None:
    server = Server(database, limits=Limits(max_calls=1))
    server.start()
    with Client(server.address) as client:
        for _ in range(300):
            assert client.stats()
    server.stop(drain_seconds=1)


def nested(depth: int) -> embeddb.Expression:
    return reduce(lambda inner, _: unit(inner), range(depth - 1), Item("a") + Item("b"))


@pytest.mark.parametrize(
    ("fits", "beyond", "says"),
    [
        (Search([[1, 0]], k=10_000), lambda: Search([[1, 0]], k=10_001), "k: 10001 given"),
        (
            Search([[1, 0]] * 100, k=10_000),
            lambda: Search([[1, 0]] * 101, k=10_000),
            "k: '10000 for 101 expressions' given, must be at most 1,000,000 hits together",
        ),
        (nested(MAX_DEPTH), lambda: nested(MAX_DEPTH + 1), "must be nested at most 32 deep"),
        (
            sum([Item("b")] * (MAX_OPERANDS - 1), start=Item("a")),
            lambda: sum([Item("b")] * MAX_OPERANDS, start=Item("a")),
            "expression: '1,001 operands' given, must have at most 1,000",
        ),
        (Text("x" * MAX_TEXT), lambda: Text("x" * (MAX_TEXT + 1)), "text: '1,000,001 characters' given"),
    ],
    ids=["k", "hits", "depth", "operands", "text"],
)
def test_the_size_of_a_question(
    fits: Search | embeddb.Expression, beyond: Callable[[], object], says: str
) -> None:
    def ask(question: object) -> None:
        question if isinstance(question, Search) else Search([question])

    ask(fits)
    with pytest.raises(InvalidArgumentError) as caught:
        ask(beyond())
    assert says in str(caught.value)


def test_an_expression_of_another_language_is_held_to_them_too(channel: grpc.Channel) -> None:
    expression = expressions_pb2.Expression(terms=[expressions_pb2.Term(item="a")])
    for _ in range(MAX_DEPTH):
        expression = expressions_pb2.Expression(terms=[expressions_pb2.Term(expression=expression)])
    stub = search_pb2_grpc.SearchServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Search(search_pb2.SearchRequest(expressions=[expression]))
    assert "must be nested at most 32 deep" in caught.value.details()


def test_metadata(client: Client, make_collection: Callable[..., Collection]) -> None:
    collection = make_collection("given")
    room = MAX_JSON_BYTES - len('{"a":""}')
    collection.put("a", features={"given": [1, 2, 3, 4]}, metadata={"a": "x" * room})
    with pytest.raises(InvalidArgumentError, match=r"item\.metadata: '1,048,577 bytes' given"):
        PutItem("b", features={"given": [1, 2, 3, 4]}, metadata={"a": "x" * (room + 1)})


@pytest.mark.parametrize(
    ("metadata", "allowed"),
    [
        ('{"a":"' + "x" * MAX_JSON_BYTES + '"}', "must have at most 1,048,576 bytes as JSON"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested more than 100 deep"),
        ('{"a":' * 9000 + "1" + "}" * 9000, "must be a JSON object"),
    ],
    ids=["large", "deep", "deeper than Python reads"],
)
def test_metadata_of_another_language(
    metadata: str, allowed: str, server: Server, make_collection: Callable[..., Collection]
) -> None:
    collection = make_collection("given")
    item = items_pb2.PutItem(id="a", metadata_json=metadata)
    with grpc.insecure_channel(server.address) as channel:
        stub = items_pb2_grpc.ItemServiceStub(channel)
        response = stub.PutItems(items_pb2.PutItemsRequest(collection=collection.name, items=[item]))
    error = error_from(response.results[0].error)
    assert isinstance(error, InvalidArgumentError)
    assert allowed in str(error)


def objects(depth: int) -> dict[str, Any]:
    """An object that is nested so deep."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH + 1, 900, 100_000])
def test_metadata_nested_too_deep_is_refused(depth: int) -> None:
    for nested in (objects(depth), {"a": [objects(depth - 2)]}):
        with pytest.raises(InvalidArgumentError, match=r"^item\.metadata: .* nested more than 100 deep"):
            PutItem("a", features={"given": [1, 2, 3, 4]}, metadata=nested)


def test_metadata_as_deep_as_may_be_is_filtered(
    client: Client, make_collection: Callable[..., Collection]
) -> None:
    collection = make_collection("given")
    collection.put("deep", features={"given": [1, 2, 3, 4]}, metadata=objects(MAX_JSON_DEPTH))
    collection.put("flat", features={"given": [1, 2, 3, 4]}, metadata={"a": 1})
    assert [hit.id for hit in collection.search([1, 2, 3, 4], filter="a == 1")] == ["flat"]
    assert collection.get("deep").metadata == objects(MAX_JSON_DEPTH)
