"""Items over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from embeddb.errors import EmbeddbError
from embeddb.query import StoredItem
from embeddb_protos.v1 import items_pb2, items_pb2_grpc
from embeddb_protos.wire.errors import error_message
from embeddb_protos.wire.items import item_message, view_from
from embeddb_protos.wire.puts import put_items_from, put_response_message, refused_from
from embeddb_server.services.batches import page_size
from embeddb_server.services.served import Service


class ItemService(Service, items_pb2_grpc.ItemServiceServicer):
    """Puts, gets, deletes and lists items."""

    def PutItems(  # noqa: D102, N802 - documented in the .proto
        self, request: items_pb2.PutItemsRequest, context: grpc.ServicerContext
    ) -> items_pb2.PutItemsResponse:
        return self._put(request)

    def StreamPutItems(  # noqa: D102, N802 - documented in the .proto
        self, requests: Iterator[items_pb2.StreamPutItemsRequest], context: grpc.ServicerContext
    ) -> Iterator[items_pb2.StreamPutItemsResponse]:
        for request in requests:
            try:
                yield items_pb2.StreamPutItemsResponse(response=self._put(request.batch))
            except EmbeddbError as error:
                yield items_pb2.StreamPutItemsResponse(error=error_message(error))

    def GetItems(  # noqa: D102, N802 - documented in the .proto
        self, request: items_pb2.GetItemsRequest, context: grpc.ServicerContext
    ) -> items_pb2.GetItemsResponse:
        collection = self._collection(request.collection)
        found = collection.get_many(list(request.ids), view=view_from(request.view))
        return items_pb2.GetItemsResponse(results=[_get_result(outcome) for outcome in found])

    def DeleteItems(  # noqa: D102, N802 - documented in the .proto
        self, request: items_pb2.DeleteItemsRequest, context: grpc.ServicerContext
    ) -> items_pb2.DeleteItemsResponse:
        collection = self._collection(request.collection)
        outcomes = collection.delete_many(list(request.ids))
        results = [
            items_pb2.DeleteResult(id=item_id, error=None if error is None else error_message(error))
            for item_id, error in zip(request.ids, outcomes, strict=True)
        ]
        return items_pb2.DeleteItemsResponse(results=results)

    def DeleteItemsByFilter(  # noqa: D102, N802 - documented in the .proto
        self, request: items_pb2.DeleteItemsByFilterRequest, context: grpc.ServicerContext
    ) -> items_pb2.DeleteItemsByFilterResponse:
        collection = self._collection(request.collection)
        deleted = collection.delete_where(request.filter, dry_run=request.dry_run)
        return items_pb2.DeleteItemsByFilterResponse(deleted=deleted)

    def ListItems(  # noqa: D102, N802 - documented in the .proto
        self, request: items_pb2.ListItemsRequest, context: grpc.ServicerContext
    ) -> items_pb2.ListItemsResponse:
        page = self._collection(request.collection).list_items(
            page_size=page_size(request.page_size),
            page_token=request.page_token,
            prefix=request.prefix,
            view=view_from(request.view),
        )
        items = [item_message(item) for item in page.items]
        return items_pb2.ListItemsResponse(items=items, next_page_token=page.next_token)

    def _put(self, request: items_pb2.PutItemsRequest) -> items_pb2.PutItemsResponse:
        collection = self._collection(request.collection)
        parsed = put_items_from(request)
        results = collection.put_many([each for each in parsed if not isinstance(each, EmbeddbError)])
        return put_response_message(request, results.among(refused_from(request, parsed)))


def _get_result(outcome: StoredItem | EmbeddbError) -> items_pb2.GetResult:
    if isinstance(outcome, EmbeddbError):
        return items_pb2.GetResult(error=error_message(outcome))
    return items_pb2.GetResult(item=item_message(outcome))
