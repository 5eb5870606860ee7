"""A call whose caller stopped waiting is not computed, and what it would have written is not written."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import grpc
import pytest

from embeddb.database import Database
from embeddb.errors import DeadlineExceededError
from embeddb.models import Output
from embeddb.query import Modality
from embeddb.questions import Compare
from embeddb_client import Client, Collection
from embeddb_protos.v1 import common_pb2, items_pb2, items_pb2_grpc
from embeddb_server import Server


class Busy:
    """The model `starter`, busy with a text until it is released; knows how many inputs it ran."""

    def __init__(self, forward: Callable[[Modality, Sequence[object]], Output]) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.inputs = 0
        self._forward = forward

    def __call__(self, modality: Modality, prepared: Sequence[object]) -> Output:
        self.inputs += len(prepared)
        self.entered.set()
        assert self.release.wait(20)
        return self._forward(modality, prepared)


def new_text() -> str:
    """A text that no model has in its cache."""
    return f"text {uuid.uuid4()}"


@pytest.fixture
def busy(database: Database, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    network = database._registry.get("starter")._runner._network
    busy = Busy(network.forward)
    monkeypatch.setattr(network, "forward", busy)
    caller = threading.Thread(target=client.embed, args=("starter", new_text()))
    caller.start()
    assert busy.entered.wait(20)
    yield busy
    busy.release.set()
    caller.join()


def test_a_put_past_its_deadline_is_neither_run_nor_written(
    busy: Busy, server: Server, client: Client, make_collection: Callable[..., Collection]
) -> None:
    collection = make_collection("starter")
    hasty = Client(server.address, collection=collection.name, timeout=0.3)
    with hasty, pytest.raises(DeadlineExceededError):
        hasty.put("a", "a text that comes too late")
    busy.release.set()
    client.embed("starter", new_text())
    assert busy.inputs == 2
    assert collection.info().items == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, name: client.embed("starter", new_text()),
        lambda client, name: client.collection(name).search(new_text()),
        lambda client, name: client.collection(name).ask(Compare([new_text(), new_text()])),
    ],
    ids=["embed", "search", "compare"],
)
def test_a_question_past_its_deadline_is_not_run(
    ask: Callable[[Client, str], object],
    busy: Busy,
    server: Server,
    client: Client,
    make_collection: Callable[..., Collection],
) -> None:
    collection = make_collection("starter")
    with Client(server.address, timeout=0.3) as hasty, pytest.raises(DeadlineExceededError):
        ask(hasty, collection.name)
    busy.release.set()
    client.embed("starter", new_text())
    assert busy.inputs == 2


def test_a_cancelled_put_is_neither_run_nor_written(
    busy: Busy, server: Server, client: Client, make_collection: Callable[..., Collection]
) -> None:
    collection = make_collection("starter")
    content = common_pb2.Content(text="a text that nobody waits for")
    request = items_pb2.PutItemsRequest(
        collection=collection.name, items=[items_pb2.PutItem(id="a", content=content)]
    )
    with grpc.insecure_channel(server.address) as channel:
        call = items_pb2_grpc.ItemServiceStub(channel).PutItems.future(request)
        # The text is in the queue soon after the server has taken the call.
        time.sleep(0.3)
        assert call.cancel()
        time.sleep(0.1)
    busy.release.set()
    client.embed("starter", new_text())
    assert busy.inputs == 2
    assert collection.info().items == 0
