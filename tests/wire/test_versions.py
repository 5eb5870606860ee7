"""A side of another version than the other: what is not understood is said, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from embeddb.errors import EmbeddbError, FailedPreconditionError, InvalidArgumentError
from embeddb.query import PutItem, Search, Vector
from embeddb_client import collection_exchanges, server_exchanges
from embeddb_client.exchange import Exchange
from embeddb_protos.v1 import collections_pb2, items_pb2, models_pb2, search_pb2
from embeddb_protos.wire.puts import put_request_message, put_results_from
from embeddb_protos.wire.service import backfill_from, collection_from, model_from

LATER = 99
ITEM = PutItem("a", features={"m": [1, 2]})
COLUMNS = put_request_message("c", [ITEM])


@pytest.mark.parametrize(
    ("read", "field"),
    [
        (
            lambda: put_results_from(COLUMNS, items_pb2.PutItemsResponse(columns={"statuses": [LATER]})),
            "status",
        ),
        (
            lambda: put_results_from(
                items_pb2.PutItemsRequest(items=[{"id": "a"}]),
                items_pb2.PutItemsResponse(results=[{"status": LATER}]),
            ),
            "status",
        ),
        (lambda: backfill_from(collections_pb2.Backfill(state=LATER)), "backfill.state"),
        (lambda: model_from(models_pb2.Model(running={"precision": LATER})), "running.precision"),
        (lambda: model_from(models_pb2.Model(options={"precision": LATER})), "options.precision"),
        (lambda: collection_from(collections_pb2.Collection(settings={"metric": LATER})), "settings.metric"),
        (
            lambda: collection_from(collections_pb2.Collection(settings={"encoding": LATER})),
            "settings.encoding",
        ),
    ],
)
def test_a_value_of_a_later_version_is_named(read: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"^{field}: 99 given, is not known to this version"):
        read()


@pytest.mark.parametrize(
    ("exchange", "response"),
    [
        # A server that does not know columns sees none.
        (collection_exchanges.put_items("c", [ITEM]), items_pb2.PutItemsResponse()),
        (collection_exchanges.search_items("c", Search([Vector([1, 2])])), search_pb2.SearchResponse()),
        (collection_exchanges.get_items("c", ["a"], None), items_pb2.GetItemsResponse()),
        (collection_exchanges.delete_items("c", ["a"]), items_pb2.DeleteItemsResponse()),
        (server_exchanges.embed("m", ["a text"]), models_pb2.EmbedResponse()),
    ],
    ids=lambda value: getattr(value, "method", ""),
)
def test_an_answer_for_fewer_than_were_asked_for_is_refused(
    exchange: Exchange[list[EmbeddbError]], response: object
) -> None:
    with pytest.raises(
        FailedPreconditionError, match="0 outcomes for a batch of 1: it is of another version"
    ):
        exchange.read(response)


def test_an_answer_on_a_stream_for_fewer_than_were_asked_for_is_refused() -> None:
    stream = collection_exchanges.SearchStream("c")
    for count in (1, 2):
        stream.request(Search([Vector([1, 2])] * count))
    one = search_pb2.SearchResponse(results=[search_pb2.SearchResult()])
    assert stream.found(search_pb2.StreamSearchResponse(response=one)) == [[]]
    for asked in (2, 0):
        with pytest.raises(FailedPreconditionError, match=f"1 outcomes for a batch of {asked}: it is"):
            stream.found(search_pb2.StreamSearchResponse(response=one))
