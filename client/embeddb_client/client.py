"""The client: a server's models, collections and figures, and the items of one collection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from embeddb.errors import EmbeddbError
from embeddb.query import (
    CollectionInfo,
    CollectionSettings,
    Embedding,
    ModelInfo,
    RunOptions,
    Stats,
    as_content,
)
from embeddb_client.collection import Collection
from embeddb_client.connection import Access, Connection
from embeddb_protos.v1 import admin_pb2, collections_pb2, models_pb2
from embeddb_protos.wire.errors import error_from
from embeddb_protos.wire.items import content_message, embedding_from
from embeddb_protos.wire.service import (
    collection_from,
    model_from,
    options_message,
    settings_message,
    stats_from,
)

__all__ = ["Client"]

DEFAULT_ADDRESS = "127.0.0.1:7080"
LOAD_SECONDS = 900.0


class Client(Collection):
    """A connection to a server, and at once the collection it was opened on.

    `client.put(...)` and `client.search(...)` are about that collection; `client.collection(name)` gives
    another one over the same connection. Thread-safe; a context manager.

    Args:
        address: host and port.
        collection: the collection that the client's own item calls are about.
        timeout: seconds that a call may take.
        access: an API key and TLS, for a server that wants them.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        collection: str = "default",
        timeout: float = 60.0,
        access: Access | None = None,
    ) -> None:
        super().__init__(Connection(address, timeout, access), collection)
        self.address = address

    def collection(self, name: str = "default") -> Collection:
        """The calls of another collection; whether it exists shows when one is made."""
        return Collection(self._connection, name)

    # -- Models -----------------------------------------------------------------------------------------

    def register_model(
        self,
        name: str,
        spec: Mapping[str, Any],
        options: RunOptions | None = None,
        *,
        timeout: float = LOAD_SECONDS,
    ) -> ModelInfo:
        """Have the server load a model and keep its spec.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -.
            spec: plain data with the key "loader"; the rest is that loader's (see docs/models.md).
            options: where and how it is to be run; everything is chosen for it if None.
            timeout: seconds; weights may have to be fetched from a hub.

        Raises:
            AlreadyExistsError: the name is taken.
            InvalidArgumentError: the spec is malformed or cannot be loaded.
        """
        request = models_pb2.RegisterModelRequest(
            name=name,
            spec_json=json.dumps(dict(spec)),
            options=options_message(options or RunOptions()),
        )
        response = self._connection.call(self._connection.models.RegisterModel, request, timeout)
        return model_from(response.model)

    def models(self) -> list[ModelInfo]:
        """All registered models, in the order of names."""
        return list(self._model_pages())

    def model(self, name: str) -> ModelInfo:
        """One registered model.

        Raises:
            NotFoundError: there is none of that name.
        """
        request = models_pb2.GetModelRequest(name=name)
        return model_from(self._connection.call(self._connection.models.GetModel, request).model)

    def load_model(self, name: str, *, timeout: float = LOAD_SECONDS) -> ModelInfo:
        """Have the server load a model that is not loaded, even where that failed before.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it cannot be loaded, or its weights are not those that were registered.
        """
        request = models_pb2.LoadModelRequest(name=name)
        response = self._connection.call(self._connection.models.LoadModel, request, timeout)
        return model_from(response.model)

    def unload_model(self, name: str) -> ModelInfo:
        """Have the server free a model's memory; the model's next use loads it again.

        Raises:
            NotFoundError: there is none of that name.
        """
        request = models_pb2.UnloadModelRequest(name=name)
        return model_from(self._connection.call(self._connection.models.UnloadModel, request).model)

    def remove_model(self, name: str) -> None:
        """Unload and forget a model.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: a collection uses it.
        """
        request = models_pb2.RemoveModelRequest(name=name)
        self._connection.call(self._connection.models.RemoveModel, request)

    def embed(self, model: str, content: object) -> Embedding:
        """Run one content through a model, storing nothing; see `embed_many`."""
        outcome = self.embed_many(model, [content])[0]
        if isinstance(outcome, EmbeddbError):
            raise outcome
        return outcome

    def embed_many(self, model: str, contents: Sequence[object]) -> list[Embedding | EmbeddbError]:
        """Run contents through a model, storing nothing.

        Args:
            contents: images and texts, or what makes them (see `embeddb.query.as_content`).

        Returns:
            One embedding a content, an error in the place of each that failed.
        """
        messages = [content_message(as_content(content)) for content in contents]
        request = models_pb2.EmbedRequest(model=model, contents=messages)
        response = self._connection.call(self._connection.models.Embed, request)
        return [
            embedding_from(result.embedding) if result.HasField("embedding") else error_from(result.error)
            for result in response.results
        ]

    # -- Collections ------------------------------------------------------------------------------------

    def create_collection(
        self, name: str, models: Sequence[str] = (), settings: CollectionSettings | None = None
    ) -> Collection:
        """Make a collection whose items these registered models embed; the first is searched by default.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -.
            models: names of registered models.
            settings: what stays as it is decided now; the defaults if None.

        Raises:
            AlreadyExistsError: the name is taken.
            NotFoundError: a model is not registered.
        """
        request = collections_pb2.CreateCollectionRequest(
            name=name, models=models, settings=settings_message(settings or CollectionSettings())
        )
        self._connection.call(self._connection.collections.CreateCollection, request)
        return self.collection(name)

    def collections(self) -> list[CollectionInfo]:
        """All collections, in the order of names."""
        return list(self._collection_pages())

    def drop_collection(self, name: str) -> None:
        """Delete a collection with all its items.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it is the default collection.
        """
        request = collections_pb2.DropCollectionRequest(name=name)
        self._connection.call(self._connection.collections.DropCollection, request)

    # -- The server -------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The server's figures."""
        response = self._connection.call(self._connection.admin.GetStats, admin_pb2.GetStatsRequest())
        return stats_from(response)

    def close(self) -> None:
        """Close the connection; the client cannot be used after."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _model_pages(self) -> Iterator[ModelInfo]:
        token = ""
        while True:
            request = models_pb2.ListModelsRequest(page_token=token)
            response = self._connection.call(self._connection.models.ListModels, request)
            yield from map(model_from, response.models)
            token = response.next_page_token
            if not token:
                return

    def _collection_pages(self) -> Iterator[CollectionInfo]:
        token = ""
        while True:
            request = collections_pb2.ListCollectionsRequest(page_token=token)
            response = self._connection.call(self._connection.collections.ListCollections, request)
            yield from map(collection_from, response.collections)
            token = response.next_page_token
            if not token:
                return
