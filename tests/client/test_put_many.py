"""Puts of more than a batch: cut, bounded, reported as they become durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embeddb
from embeddb.errors import UnavailableError
from embeddb.query import Image, PutItem, PutResult, PutResults, PutStatus
from embeddb_client import AsyncClient, Client, Collection, connection
from embeddb_client.batches import BATCH_BYTES, BATCH_CONTENTS, BATCH_ITEMS, IN_FLIGHT, batches
from embeddb_client.collection_exchanges import put_items
from embeddb_client.connection import _CHANNEL_OPTIONS
from embeddb_protos.v1 import items_pb2
from embeddb_server import Server
from tests.conftest import DIMENSION

MakeCollection = Callable[..., Collection]
VECTOR = np.ones(DIMENSION, np.float32)
ENVELOPE = 64
"""More bytes than an item's fields need to say what they are."""
sizes = st.lists(st.one_of(st.integers(1, 100), st.integers(BATCH_BYTES // 3, BATCH_BYTES + 1)), max_size=12)


@given(sizes, st.integers(0, 2 * BATCH_CONTENTS + 1), st.integers(0, BATCH_ITEMS + 1))
def test_batches_keep_the_order_and_their_limits(large: list[int], small: int, bare: int) -> None:
    items = [PutItem(f"{n}", Image(bytes(size))) for n, size in enumerate(large)]
    items += [PutItem(f"small-{n}", "a") for n in range(small)]
    items += [PutItem(f"bare-{n}", features={"given": VECTOR}) for n in range(bare)]
    cut = list(batches(items))
    assert [each.id for batch in cut for each in batch] == [item.id for item in items]
    for batch in cut:
        assert 1 <= len(batch) <= BATCH_ITEMS
        contents = sum(isinstance(each, items_pb2.PutItem) and each.HasField("content") for each in batch)
        assert contents <= BATCH_CONTENTS
        request = put_items("photos", batch).request
        assert len(batch) == 1 or request.ByteSize() <= BATCH_BYTES + ENVELOPE * len(batch)


def test_what_cannot_be_read_stays_in_its_place(tmp_path: Path) -> None:
    items = [PutItem("a", "a"), PutItem("b", Image(tmp_path / "missing.png")), PutItem("c", "c")]
    (batch,) = batches(items)
    assert [each.id for each in batch] == ["a", "b", "c"]
    assert isinstance(batch[1], PutResult)
    assert "cannot be read" in str(batch[1].error)


def test_the_source_is_asked_for_more_as_the_server_keeps_up(make_collection: MakeCollection) -> None:
    collection = make_collection("given")
    given, done = 0, 0

    def source() -> Iterator[PutItem]:
        nonlocal given
        for n in range(4 * BATCH_ITEMS):
            given += 1
            assert given - done <= (IN_FLIGHT + 1) * BATCH_ITEMS + 1
            yield PutItem(f"{n:04}", features={"given": [1, 2, 3, n]})

    def progress(results: PutResults) -> None:
        nonlocal done
        done += len(results)
        assert collection.get(results[-1].id).id == results[-1].id

    results = collection.put_many(source(), on_progress=progress)
    assert [result.id for result in results] == [f"{n:04}" for n in range(4 * BATCH_ITEMS)]
    assert done == 4 * BATCH_ITEMS


def test_a_source_that_fails_loses_nothing_that_was_reported(make_collection: MakeCollection) -> None:
    collection = make_collection("given")
    reported: list[str] = []

    def source() -> Iterator[PutItem]:
        for n in range(5 * BATCH_ITEMS):
            yield PutItem(f"{n:04}", features={"given": [1, 2, 3, n]})
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        collection.put_many(source(), on_progress=lambda done: reported.extend(each.id for each in done))
    assert len(reported) >= BATCH_ITEMS
    assert set(reported) <= {item.id for item in collection.items()}


def test_a_server_that_dies_leaves_a_tally(tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        database.collection().add_model("given")
        server = Server(database)
        server.start()

        def progress(results: PutResults) -> None:
            server.stop(drain_seconds=0)

        items = [PutItem(f"{n:04}", features={"given": [1, 2, 3, n]}) for n in range(6 * BATCH_ITEMS)]
        with Client(server.address, timeout=10) as client, pytest.raises(UnavailableError) as error:
            client.put_many(items, on_progress=progress)
        stored = database.collection().info().items
    acknowledged = int(error.value.details["stored"])
    assert BATCH_ITEMS <= acknowledged <= stored < len(items)
    assert f"before this {acknowledged:,} items were stored. Put all of them again" in str(error.value)


def test_a_load_that_is_given_up_ends_at_once(make_collection: MakeCollection) -> None:
    collection = make_collection("tiny")
    picture = Image(np.zeros((4000, 4000, 3), np.uint8))

    def source() -> Iterator[PutItem]:
        for n in range(IN_FLIGHT * BATCH_CONTENTS + 1):
            yield PutItem(f"{n}", picture)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.put_many(source())
    assert collection.info().items < IN_FLIGHT * BATCH_CONTENTS  # Nobody waited for the batches.


def test_a_source_may_pause_for_longer_than_a_call_may_take(
    server: Server, make_collection: MakeCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is open meanwhile but the channel, which is asked whether it lives more often than usual."""
    often = [(name, 100 if name == "grpc.keepalive_time_ms" else value) for name, value in _CHANNEL_OPTIONS]
    monkeypatch.setattr(connection, "_CHANNEL_OPTIONS", often)
    name = make_collection("given").name
    timeout, pause = 1.0, 1.5
    items = [PutItem(f"{n:04}", features={"given": [1, 2, 3, n]}) for n in range(2 * BATCH_ITEMS + 2)]

    def source() -> Iterator[PutItem]:
        for n, item in enumerate(items):
            if n in (BATCH_ITEMS + 1, 2 * BATCH_ITEMS + 1):  # Once a batch was sent.
                time.sleep(pause)
            yield item

    async def put_beside_a_loop() -> PutResults:
        async with AsyncClient(server.address, timeout=timeout) as client:

            async def pausing() -> AsyncIterator[PutItem]:
                source_of_all = source()
                while (item := await asyncio.to_thread(next, source_of_all, None)) is not None:
                    yield item

            return await client.collection(name).put_many(pausing())

    with Client(server.address, timeout=timeout) as client:
        created = client.collection(name).put_many(source())
    assert [result.status for result in created] == [PutStatus.CREATED] * len(items)
    unchanged = asyncio.run(put_beside_a_loop())
    assert [result.status for result in unchanged] == [PutStatus.UNCHANGED] * len(items)
