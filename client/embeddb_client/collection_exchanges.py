"""The calls about one collection: its items, questions to it, and its models. Each gives an `Exchange`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from embeddb.arguments import checked
from embeddb.errors import EmbeddbError
from embeddb.query import (
    Backfill,
    CollectionInfo,
    Hits,
    ItemPage,
    PutResult,
    PutResults,
    Search,
    StoredItem,
    View,
    check_page_size,
)
from embeddb.questions import Question
from embeddb_client.batches import Batch
from embeddb_client.exchange import Exchange, nothing
from embeddb_protos.v1 import analysis_pb2, collections_pb2, items_pb2, search_pb2
from embeddb_protos.wire.errors import error_from
from embeddb_protos.wire.items import item_from, view_message
from embeddb_protos.wire.puts import put_request_message, put_results_from
from embeddb_protos.wire.questions import codec_of
from embeddb_protos.wire.search import response_from, search_message
from embeddb_protos.wire.service import backfill_from, collection_from
from embeddb_protos.wire.versions import one_each

A = TypeVar("A")
Found = list[Hits | EmbeddbError]

# -- Items ----------------------------------------------------------------------------------------------


def put_items(collection: str, batch: Batch) -> Exchange[PutResults]:
    """Store a batch; what failed before it could be sent keeps its result."""
    unsent = {place: each for place, each in enumerate(batch) if isinstance(each, PutResult)}
    request = put_request_message(collection, [each for each in batch if not isinstance(each, PutResult)])
    return Exchange(
        "items.PutItems", request, lambda response: put_results_from(request, response).among(unsent)
    )


@checked
def get_items(
    collection: str, item_ids: Sequence[str], view: View | None
) -> Exchange[list[StoredItem | EmbeddbError]]:
    """Items by their ids."""
    request = items_pb2.GetItemsRequest(
        collection=collection, ids=item_ids, view=view_message(view or View())
    )
    return Exchange(
        "items.GetItems",
        request,
        lambda response: one_each(
            len(item_ids),
            [
                item_from(result.item) if result.HasField("item") else error_from(result.error)
                for result in response.results
            ],
        ),
    )


@checked
def delete_items(collection: str, item_ids: Sequence[str]) -> Exchange[list[EmbeddbError | None]]:
    """Delete items by their ids."""
    return Exchange(
        "items.DeleteItems",
        items_pb2.DeleteItemsRequest(collection=collection, ids=item_ids),
        lambda response: one_each(
            len(item_ids),
            [error_from(each.error) if each.HasField("error") else None for each in response.results],
        ),
    )


@checked
def delete_by_filter(collection: str, filter: str, dry_run: bool) -> Exchange[int]:  # noqa: A002 - as in `Search`
    """Delete the items that satisfy a filter, or count them."""
    request = items_pb2.DeleteItemsByFilterRequest(collection=collection, filter=filter, dry_run=dry_run)
    return Exchange("items.DeleteItemsByFilter", request, lambda response: int(response.deleted))


@checked
def list_items(
    collection: str, page_size: int, page_token: str, prefix: str, view: View | None
) -> Exchange[ItemPage]:
    """A page of a collection."""
    request = items_pb2.ListItemsRequest(
        collection=collection,
        page_size=check_page_size(page_size),
        page_token=page_token,
        prefix=prefix,
        view=view_message(view or View()),
    )
    return Exchange(
        "items.ListItems",
        request,
        lambda response: ItemPage([item_from(item) for item in response.items], response.next_page_token),
    )


# -- Questions ------------------------------------------------------------------------------------------


@checked
def search_items(collection: str, search: Search) -> Exchange[Found]:
    """Find what is near; images are read here."""
    count = len(search.expressions)
    return Exchange(
        "search.Search",
        search_message(collection, search),
        lambda response: one_each(count, response_from(response)),
    )


class SearchStream:
    """Searches on an open stream, which are answered in order.

    Args:
        collection: its name.
    """

    def __init__(self, collection: str) -> None:
        self._collection = collection
        # How many expressions each search has that is not answered yet: gRPC asks for requests on a thread.
        self._asked: deque[int] = deque()

    @checked
    def request(self, search: Search) -> search_pb2.StreamSearchRequest:
        """The next search as a message; images are read here."""
        message = search_pb2.StreamSearchRequest(request=search_message(self._collection, search))
        self._asked.append(len(search.expressions))
        return message

    def found(self, response: search_pb2.StreamSearchResponse) -> Found:
        """What the answer to the first search that has none yet says.

        Raises:
            FailedPreconditionError: it has not an outcome for each expression.
            EmbeddbError: the search was refused as a whole.
        """
        if response.HasField("error"):
            raise error_from(response.error)
        return one_each(self._asked.popleft() if self._asked else 0, response_from(response.response))


@checked
def ask(collection: str, question: Question[A]) -> Exchange[A]:
    """Answer a question about a collection; images are read here."""
    codec = codec_of(question)
    request = codec.request_message(collection, question)
    if not codec.streamed:
        return Exchange(f"analysis.{codec.method}", request, codec.answer_from)
    envelope = getattr(analysis_pb2, f"Stream{codec.method}Request")(request=request)
    return Exchange(f"analysis.Stream{codec.method}", envelope, codec.answer_from, streamed=True)


# -- Models ---------------------------------------------------------------------------------------------


@checked
def get_collection(name: str) -> Exchange[CollectionInfo]:
    """One collection."""
    request = collections_pb2.GetCollectionRequest(name=name)
    return Exchange(
        "collections.GetCollection", request, lambda response: collection_from(response.collection)
    )


@checked
def add_model(collection: str, model: str) -> Exchange[None]:
    """Let a model embed a collection's items."""
    request = collections_pb2.AddModelRequest(collection=collection, model=model)
    return Exchange("collections.AddModel", request, nothing)


@checked
def start_backfill(collection: str, model: str) -> Exchange[Backfill]:
    """Embed the stored items that lack a model's features."""
    request = collections_pb2.StartBackfillRequest(collection=collection, model=model)
    return Exchange("collections.StartBackfill", request, lambda response: backfill_from(response.backfill))


@checked
def list_backfills(collection: str) -> Exchange[list[Backfill]]:
    """How far a collection's backfills are."""
    request = collections_pb2.ListBackfillsRequest(collection=collection)
    return Exchange(
        "collections.ListBackfills",
        request,
        lambda response: [backfill_from(each) for each in response.backfills],
    )


@checked
def drop_model(collection: str, model: str, replaced_by: str | None, force: bool) -> Exchange[None]:
    """Drop a model with its features from a collection."""
    request = collections_pb2.DropModelRequest(
        collection=collection, model=model, replaced_by=replaced_by or "", force=force
    )
    return Exchange("collections.DropModel", request, nothing)
