"""Collections over gRPC."""

from __future__ import annotations

import grpc

from embeddb_protos.v1 import collections_pb2, collections_pb2_grpc
from embeddb_protos.wire.service import backfill_message, collection_message, settings_from
from embeddb_server.services.batches import page_by_name
from embeddb_server.services.served import Service


class CollectionService(Service, collections_pb2_grpc.CollectionServiceServicer):
    """Creates, lists and drops collections, and adds models to them."""

    def CreateCollection(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.CreateCollectionRequest, context: grpc.ServicerContext
    ) -> collections_pb2.CreateCollectionResponse:
        collection = self._database.create_collection(
            request.name, list(request.models), settings_from(request.settings)
        )
        return collections_pb2.CreateCollectionResponse(collection=collection_message(collection.info()))

    def ListCollections(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.ListCollectionsRequest, context: grpc.ServicerContext
    ) -> collections_pb2.ListCollectionsResponse:
        page, token = page_by_name(
            self._database.collections(), lambda info: info.name, request.page_size, request.page_token
        )
        return collections_pb2.ListCollectionsResponse(
            collections=[collection_message(info) for info in page], next_page_token=token
        )

    def GetCollection(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.GetCollectionRequest, context: grpc.ServicerContext
    ) -> collections_pb2.GetCollectionResponse:
        info = self._collection(request.name).info()
        return collections_pb2.GetCollectionResponse(collection=collection_message(info))

    def DropCollection(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.DropCollectionRequest, context: grpc.ServicerContext
    ) -> collections_pb2.DropCollectionResponse:
        self._database.drop_collection(request.name)
        return collections_pb2.DropCollectionResponse()

    def AddModel(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.AddModelRequest, context: grpc.ServicerContext
    ) -> collections_pb2.AddModelResponse:
        collection = self._collection(request.collection)
        collection.add_model(request.model)
        return collections_pb2.AddModelResponse(collection=collection_message(collection.info()))

    def StartBackfill(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.StartBackfillRequest, context: grpc.ServicerContext
    ) -> collections_pb2.StartBackfillResponse:
        collection = self._collection(request.collection)
        backfill = collection.backfill(request.model)
        return collections_pb2.StartBackfillResponse(backfill=backfill_message(backfill))

    def ListBackfills(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.ListBackfillsRequest, context: grpc.ServicerContext
    ) -> collections_pb2.ListBackfillsResponse:
        collection = self._collection(request.collection)
        messages = [backfill_message(each) for each in collection.backfills()]
        return collections_pb2.ListBackfillsResponse(backfills=messages)

    def DropModel(  # noqa: D102, N802 - documented in the .proto
        self, request: collections_pb2.DropModelRequest, context: grpc.ServicerContext
    ) -> collections_pb2.DropModelResponse:
        collection = self._collection(request.collection)
        collection.drop_model(request.model, replaced_by=request.replaced_by or None, force=request.force)
        return collections_pb2.DropModelResponse(collection=collection_message(collection.info()))
