"""The client for asyncio: `Client`'s calls, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from embeddb.errors import EmbeddbError, or_raise
from embeddb.query import (
    BackupInfo,
    CollectionInfo,
    CollectionSettings,
    Embedding,
    Finding,
    KeyInfo,
    ModelInfo,
    RunOptions,
    Stats,
)
from embeddb.questions import OnProgress
from embeddb_client import server_exchanges as exchanges
from embeddb_client.access import Access
from embeddb_client.async_collection import AsyncCollection
from embeddb_client.async_connection import AsyncConnection
from embeddb_client.client import DEFAULT_ADDRESS, LOAD_SECONDS

__all__ = ["AsyncClient"]


class AsyncClient(AsyncCollection):
    """A connection to a server, and also the collection it was opened on; see `Client`.

    Every call is that of `Client` with the same name: it takes, gives and raises the same. A client belongs
    to the event loop it is made in; calls may be made there at the same time.

    Args:
        address: host and port.
        collection: the collection that the client's own item calls are about.
        timeout: seconds that a call may take; those that tell their progress take as long as they need.
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
        super().__init__(AsyncConnection(address, timeout, access), collection)
        self.address = address

    def collection(self, name: str = "default") -> AsyncCollection:
        """The calls of another collection; whether it exists shows at the first call."""
        return AsyncCollection(self._connection, name)

    # -- Models -----------------------------------------------------------------------------------------

    async def register_model(
        self,
        name: str,
        spec: Mapping[str, Any],
        options: RunOptions | None = None,
        *,
        timeout: float = LOAD_SECONDS,
    ) -> ModelInfo:
        """Have the server load a model and keep its spec; see `Client.register_model`."""
        return await self._connection.send(exchanges.register_model(name, spec, options), timeout)

    async def models(self) -> list[ModelInfo]:
        """All registered models, in the order of names."""
        return [model async for model in self._connection.pages(exchanges.list_models)]

    async def model(self, name: str) -> ModelInfo:
        """One registered model; see `Client.model`."""
        return await self._connection.send(exchanges.get_model(name))

    async def load_model(self, name: str, *, timeout: float = LOAD_SECONDS) -> ModelInfo:
        """Have the server load a model that is not loaded; see `Client.load_model`."""
        return await self._connection.send(exchanges.load_model(name), timeout)

    async def unload_model(self, name: str) -> ModelInfo:
        """Have the server free a model's memory; see `Client.unload_model`."""
        return await self._connection.send(exchanges.unload_model(name))

    async def remove_model(self, name: str) -> None:
        """Unload and forget a model; see `Client.remove_model`."""
        await self._connection.send(exchanges.remove_model(name))

    async def embed(self, model: str, content: object) -> Embedding:
        """Run one content through a model, storing nothing; see `embed_many`."""
        return or_raise((await self.embed_many(model, [content]))[0])

    async def embed_many(self, model: str, contents: Sequence[object]) -> list[Embedding | EmbeddbError]:
        """Run contents through a model, storing nothing; see `Client.embed_many`."""
        exchange = await asyncio.to_thread(exchanges.embed, model, contents)
        return await self._connection.send(exchange)

    # -- Collections ------------------------------------------------------------------------------------

    async def create_collection(
        self, name: str, models: Sequence[str] = (), settings: CollectionSettings | None = None
    ) -> AsyncCollection:
        """Make a collection; see `Client.create_collection`."""
        await self._connection.send(exchanges.create_collection(name, models, settings))
        return self.collection(name)

    async def collections(self) -> list[CollectionInfo]:
        """All collections, in the order of names."""
        return [each async for each in self._connection.pages(exchanges.list_collections)]

    async def drop_collection(self, name: str) -> None:
        """Delete a collection with all its items; see `Client.drop_collection`."""
        await self._connection.send(exchanges.drop_collection(name))

    # -- The server -------------------------------------------------------------------------------------

    async def stats(self) -> Stats:
        """The server's figures."""
        return await self._connection.send(exchanges.get_stats())

    async def backup(self, name: str = "", *, on_progress: OnProgress | None = None) -> BackupInfo:
        """Have the server copy its data folder while it serves; see `Client.backup`."""
        return await self._connection.follow(exchanges.backup(name), on_progress)

    async def verify_data(self, *, on_progress: OnProgress | None = None) -> list[Finding]:
        """Have the server check all that it stores; see `Client.verify_data`."""
        return await self._connection.follow(exchanges.verify_data(), on_progress)

    async def create_key(self, name: str, role: str = "read", collections: Sequence[str] = ()) -> str:
        """Make an API key, which counts at once; see `Client.create_key`."""
        return await self._connection.send(exchanges.create_key(name, role, collections))

    async def keys(self) -> list[KeyInfo]:
        """The API keys in the order of names, without their secrets."""
        return await self._connection.send(exchanges.list_keys())

    async def delete_key(self, name: str) -> None:
        """Make an API key worthless; see `Client.delete_key`."""
        await self._connection.send(exchanges.delete_key(name))

    async def close(self) -> None:
        """Close the connection; every later call raises `UnavailableError`."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
