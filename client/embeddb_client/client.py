"""The client: a server's models, collections and figures, and the items of one collection."""

from __future__ import annotations

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
from embeddb_client.collection import Collection
from embeddb_client.connection import Connection

__all__ = ["Client"]

DEFAULT_ADDRESS = "127.0.0.1:7080"
LOAD_SECONDS = 900.0


class Client(Collection):
    """A connection to a server, and also the collection it was opened on.

    `client.put(...)` and `client.search(...)` are about that collection; `client.collection(name)` gives
    another one over the same connection. Thread-safe; a context manager.

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
        super().__init__(Connection(address, timeout, access), collection)
        self.address = address

    def collection(self, name: str = "default") -> Collection:
        """The calls of another collection; whether it exists shows at the first call."""
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
        return self._connection.send(exchanges.register_model(name, spec, options), timeout)

    def models(self) -> list[ModelInfo]:
        """All registered models, in the order of names."""
        return list(self._connection.pages(exchanges.list_models))

    def model(self, name: str) -> ModelInfo:
        """One registered model.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._connection.send(exchanges.get_model(name))

    def load_model(self, name: str, *, timeout: float = LOAD_SECONDS) -> ModelInfo:
        """Have the server load a model that is not loaded, even where that failed before.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it cannot be loaded, or its weights are not those that were registered.
        """
        return self._connection.send(exchanges.load_model(name), timeout)

    def unload_model(self, name: str) -> ModelInfo:
        """Have the server free a model's memory; the model's next use loads it again.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._connection.send(exchanges.unload_model(name))

    def remove_model(self, name: str) -> None:
        """Unload and forget a model.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: a collection uses it.
        """
        self._connection.send(exchanges.remove_model(name))

    def embed(self, model: str, content: object) -> Embedding:
        """Run one content through a model, storing nothing; see `embed_many`."""
        return or_raise(self.embed_many(model, [content])[0])

    def embed_many(self, model: str, contents: Sequence[object]) -> list[Embedding | EmbeddbError]:
        """Run contents through a model, storing nothing.

        Args:
            contents: images and texts, or what makes them (see `embeddb.query.as_content`).

        Returns:
            One embedding a content, an error in the place of each that failed.
        """
        return self._connection.send(exchanges.embed(model, contents))

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
        self._connection.send(exchanges.create_collection(name, models, settings))
        return self.collection(name)

    def collections(self) -> list[CollectionInfo]:
        """All collections, in the order of names."""
        return list(self._connection.pages(exchanges.list_collections))

    def drop_collection(self, name: str) -> None:
        """Delete a collection with all its items.

        Raises:
            NotFoundError: there is none of that name.
            FailedPreconditionError: it is the default collection.
        """
        self._connection.send(exchanges.drop_collection(name))

    # -- The server -------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The server's figures."""
        return self._connection.send(exchanges.get_stats())

    def backup(self, name: str = "", *, on_progress: OnProgress | None = None) -> BackupInfo:
        """Have the server copy its data folder while it serves, into the folder `backups/` inside it.

        `embeddb-server restore` makes a data folder of a backup.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -; the time in UTC if empty.
            on_progress: is told how many collections are copied.

        Raises:
            AlreadyExistsError: the name is taken.
            ResourceExhaustedError: the server's disk is full.
        """
        return self._connection.follow(exchanges.backup(name), on_progress)

    def verify_data(self, *, on_progress: OnProgress | None = None) -> list[Finding]:
        """Have the server check all that it stores, on a copy that it deletes afterwards.

        Args:
            on_progress: is told how many collections are copied, and then checked.

        Returns:
            What is wrong; nothing if all is sound. `embeddb-server verify --repair` mends what can be mended.
        """
        return self._connection.follow(exchanges.verify_data(), on_progress)

    def create_key(self, name: str, role: str = "read", collections: Sequence[str] = ()) -> str:
        """Make an API key, valid at once; from the first key on, nobody may call without one.

        Args:
            name: a new one.
            role: "read", "write" or "admin"; each may do what those before it may.
            collections: the only ones it opens; every one, and the whole server, if empty.

        Returns:
            The secret that callers show, which is stored nowhere.

        Raises:
            AlreadyExistsError: the name is taken.
            FailedPreconditionError: the server takes no keys.
        """
        return self._connection.send(exchanges.create_key(name, role, collections))

    def keys(self) -> list[KeyInfo]:
        """The API keys in the order of names, without their secrets."""
        return self._connection.send(exchanges.list_keys())

    def delete_key(self, name: str) -> None:
        """Make an API key worthless, at once.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._connection.send(exchanges.delete_key(name))

    def close(self) -> None:
        """Close the connection; every later call raises `UnavailableError`."""
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
