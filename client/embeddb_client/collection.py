"""A collection on a server: the same calls as the engine's own, over gRPC."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from embeddb.calls import CollectionCalls
from embeddb.errors import EmbeddbError
from embeddb.query import (
    CollectionInfo,
    Hit,
    ItemPage,
    PutItem,
    PutResult,
    PutStatus,
    Search,
    StoredItem,
    View,
)
from embeddb.questions import Question
from embeddb_client.connection import Connection
from embeddb_protos.v1 import collections_pb2, items_pb2, search_pb2
from embeddb_protos.wire.errors import error_from
from embeddb_protos.wire.items import item_from, put_item_message, put_result_from, view_message
from embeddb_protos.wire.questions import codec_of
from embeddb_protos.wire.search import result_from, search_message
from embeddb_protos.wire.service import collection_from

__all__ = ["Collection"]

A = TypeVar("A")

# A batch is sent when it holds this many items or bytes. Two are under way at once, so that the server
# decodes one while it runs the other through its models.
BATCH_ITEMS = 64
BATCH_BYTES = 16 << 20
IN_FLIGHT = 2


class Collection(CollectionCalls):
    """A collection on a server; made by `Client.collection`."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name

    def put_many(  # noqa: D102 - documented in CollectionCalls
        self,
        items: Iterable[PutItem],
        *,
        on_progress: Callable[[Sequence[PutResult]], None] | None = None,
    ) -> list[PutResult]:
        results: list[PutResult] = []
        under_way: deque[Future[list[PutResult]]] = deque()

        def finish_oldest() -> None:
            finished = under_way.popleft().result()
            results.extend(finished)
            if on_progress is not None:
                on_progress(finished)

        with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="put") as pool:
            for batch in _batches(items):
                if len(under_way) == IN_FLIGHT:
                    finish_oldest()
                under_way.append(pool.submit(self._put_batch, batch))
            while under_way:
                finish_oldest()
        return results

    def _put_batch(self, batch: Sequence[items_pb2.PutItem | PutResult]) -> list[PutResult]:
        """Send the items of a batch; those that failed before they could be sent keep their results."""
        messages = [each for each in batch if isinstance(each, items_pb2.PutItem)]
        request = items_pb2.PutItemsRequest(collection=self.name, items=messages)
        response = self._connection.call(self._connection.items.PutItems, request)
        sent = iter(response.results)
        return [each if isinstance(each, PutResult) else put_result_from(next(sent)) for each in batch]

    def get_many(  # noqa: D102 - documented in CollectionCalls
        self, item_ids: Sequence[str], *, view: View | None = None
    ) -> list[StoredItem | EmbeddbError]:
        request = items_pb2.GetItemsRequest(
            collection=self.name, ids=item_ids, view=view_message(view or View())
        )
        response = self._connection.call(self._connection.items.GetItems, request)
        return [
            item_from(result.item) if result.HasField("item") else error_from(result.error)
            for result in response.results
        ]

    def delete_many(self, item_ids: Sequence[str]) -> list[EmbeddbError | None]:  # noqa: D102
        request = items_pb2.DeleteItemsRequest(collection=self.name, ids=item_ids)
        response = self._connection.call(self._connection.items.DeleteItems, request)
        return [error_from(each.error) if each.HasField("error") else None for each in response.results]

    def delete_where(self, filter: str) -> int:  # noqa: A002, D102 - documented in CollectionCalls
        request = items_pb2.DeleteItemsByFilterRequest(collection=self.name, filter=filter)
        response = self._connection.call(self._connection.items.DeleteItemsByFilter, request)
        return int(response.deleted)

    def list_items(  # noqa: D102 - documented in CollectionCalls
        self, *, page_size: int = 100, page_token: str = "", prefix: str = "", view: View | None = None
    ) -> ItemPage:
        request = items_pb2.ListItemsRequest(
            collection=self.name,
            page_size=page_size,
            page_token=page_token,
            prefix=prefix,
            view=view_message(view or View()),
        )
        response = self._connection.call(self._connection.items.ListItems, request)
        return ItemPage([item_from(item) for item in response.items], response.next_page_token)

    def search_many(self, search: Search) -> list[list[Hit] | EmbeddbError]:  # noqa: D102
        request = search_message(self.name, search)
        response = self._connection.call(self._connection.search.Search, request)
        return [result_from(result) for result in response.results]

    def stream_search(self, searches: Iterable[Search]) -> Iterator[list[list[Hit] | EmbeddbError]]:
        """Answer searches on one open stream, in order; an exchange costs a third of a unary call's time.

        Raises:
            EmbeddbError: a search was refused as a whole; those after it are not answered.
        """
        requests = (
            search_pb2.StreamSearchRequest(request=search_message(self.name, search)) for search in searches
        )
        for response in self._connection.stream(self._connection.search.StreamSearch, requests):
            if response.HasField("error"):
                raise error_from(response.error)
            yield [result_from(result) for result in response.response.results]

    def ask(self, question: Question[A]) -> A:  # noqa: D102 - documented in CollectionCalls
        codec = codec_of(question)
        method = getattr(self._connection.analysis, codec.method)
        answer: A = codec.answer_from(
            self._connection.call(method, codec.request_message(self.name, question))
        )
        return answer

    def add_model(self, model: str) -> None:  # noqa: D102 - documented in CollectionCalls
        request = collections_pb2.AddModelRequest(collection=self.name, model=model)
        self._connection.call(self._connection.collections.AddModel, request)

    def info(self) -> CollectionInfo:  # noqa: D102 - documented in CollectionCalls
        request = collections_pb2.GetCollectionRequest(name=self.name)
        response = self._connection.call(self._connection.collections.GetCollection, request)
        return collection_from(response.collection)


def _batches(items: Iterable[PutItem]) -> Iterator[list[items_pb2.PutItem | PutResult]]:
    """Cut a stream of items into batches of messages; one that cannot be read becomes its failed result."""
    batch: list[items_pb2.PutItem | PutResult] = []
    size = 0
    for item in items:
        message = _message_or_failure(item)
        added = 0 if isinstance(message, PutResult) else message.ByteSize()
        if batch and (len(batch) >= BATCH_ITEMS or size + added > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += added
    if batch:
        yield batch


def _message_or_failure(item: PutItem) -> items_pb2.PutItem | PutResult:
    try:
        return put_item_message(item)
    except EmbeddbError as error:
        return PutResult(item.id, PutStatus.FAILED, error)
