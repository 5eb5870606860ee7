"""Calls that no client of ours would make: none hurts the server, and none finds a defect."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import PIL.Image
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import embeddb
from embeddb_client import Client, PutItem
from embeddb_server import Server
from embeddb_server.server import SERVICES
from embeddb_server.services import euclides

METHODS = [
    method for name in (*SERVICES, euclides.SERVICE) for method in Default().FindServiceByName(name).methods
]
DEFECTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
# At least 10,000 calls in all, a few hundred a method, half of them random bytes.
EXAMPLES = math.ceil(10_000 / len(METHODS) / 2)
HASTE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


# What is nearly right goes deeper than what is not.
STRINGS = st.sampled_from(
    ["", "default", "given", "tiny", "a", "b", "\0", "x" * 500, "../..", "{}", '{"n": 1}', "n > 0"]
)
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e308, -1e-320, float("inf"), float("-inf"), float("nan")])
BYTES = st.sampled_from(
    [
        b"",
        struct.pack("<2f", 1, 2),
        struct.pack("<2f", float("nan"), 1),
        b"\xff" * 7,
        png(8, 8),
        png(1, 1)[:40],
    ]
)


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return BYTES | st.binary(max_size=64)
        case FieldDescriptor.CPPTYPE_STRING:
            return STRINGS | st.text(st.characters(codec="utf-8"), max_size=20)
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return NUMBERS | st.floats(width=32)
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.integers(-1, 9)
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_INT64:
            return st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]) | st.integers(-100, 100)
    return st.sampled_from([0, 1, 2, 2**32 - 1]) | st.integers(0, 100)


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 4) -> Message:
    """Any message of a type, nested up to a depth."""
    message: Message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if not draw(st.booleans()) or (field.message_type and not depth):
            continue
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        values = scalars(field) if field.message_type is None else messages(field.message_type, depth - 1)
        if is_map:
            for entry in draw(st.lists(values, max_size=2)):
                target = getattr(message, field.name)
                if isinstance(entry.value, Message):
                    target[entry.key].CopyFrom(entry.value)
                else:
                    target[entry.key] = entry.value
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=3)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(values))
        else:
            setattr(message, field.name, draw(values))
    return message


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with embeddb.open(tmp_path_factory.mktemp("fuzzed")) as database:
        database.register_model("tiny", {"loader": "timm", "architecture": "test_vit", "seed": 0})
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        database.create_collection("safe", ["given"])
        for model in ("tiny", "given"):
            database.collection().add_model(model)
        server = Server(database, euclides_collection="default")
        server.start()
        yield server
        server.stop(drain_seconds=0.1)


@pytest.fixture(scope="module")
def channel(fuzzed: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(fuzzed.address) as channel:
        yield channel


def call(channel: grpc.Channel, method: MethodDescriptor, request: bytes) -> None:
    """Make one call, or a stream of two requests; fails if its status or an answer tells of a defect."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    streams = (method.client_streaming, method.server_streaming)
    try:
        match streams:
            case (False, False):
                answers = [channel.unary_unary(path)(request, timeout=20)]
            case (False, True):
                answers = list(channel.unary_stream(path)(request, timeout=20))
            case (True, False):
                answers = [channel.stream_unary(path)(iter([request] * 2), timeout=20)]
            case _:
                answers = list(channel.stream_stream(path)(iter([request] * 2), timeout=20))
    except grpc.RpcError as error:
        if error.code() in DEFECTS:
            raise
        return
    for answer in answers:
        assert b"internal error" not in answer


@pytest.fixture(autouse=True)
def others_are_served(fuzzed: Server) -> Iterator[None]:
    """Whoever calls beside and after gets right answers."""
    yield
    with Client(fuzzed.address, collection="safe") as client:
        client.put_many([PutItem("x", features={"given": np.array([3.0, 4.0])})])
        assert [hit.id for hit in client.search([3.0, 4.0])] == ["x"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_any_message(method: MethodDescriptor, channel: grpc.Channel) -> None:
    @HASTE
    @given(messages(method.input_type))
    def fuzz(message: Message) -> None:
        # The collection that shows others being served is not to be touched.
        assume(b"safe" not in message.SerializeToString())
        call(channel, method, message.SerializeToString())

    fuzz()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_any_bytes(method: MethodDescriptor, channel: grpc.Channel) -> None:
    @HASTE
    @given(st.binary(max_size=200))
    def fuzz(request: bytes) -> None:
        assume(b"safe" not in request)
        call(channel, method, request)

    fuzz()


@given(data=st.data())
@HASTE
def test_any_image(data: st.DataObject, fuzzed: Server, photo: Path) -> None:
    """A real image with some of its bytes changed, or cut short."""
    image = bytearray(data.draw(st.sampled_from([png(32, 32), photo.read_bytes()])))
    for place in data.draw(st.lists(st.integers(0, len(image) - 1), min_size=1, max_size=20)):
        image[place] = data.draw(st.integers(0, 255))
    del image[data.draw(st.integers(1, len(image))) :]
    with Client(fuzzed.address) as client:
        for outcome in client.embed_many("tiny", [bytes(image)]):
            assert type(outcome).__name__ in (
                "Embedding",
                "InvalidArgumentError",
                "ResourceExhaustedError",
            ), outcome
