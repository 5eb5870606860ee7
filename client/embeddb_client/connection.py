"""A channel to a server: its limits, its retries, and our errors in place of gRPC's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from types import ModuleType
from typing import Any, Generic, NoReturn, TypeVar

import grpc

from embeddb.arguments import checked
from embeddb.errors import CancelledError, UnavailableError
from embeddb.questions import OnProgress
from embeddb_client.access import Access, check_address
from embeddb_client.exchange import Exchange
from embeddb_protos.v1 import (
    admin_pb2_grpc,
    analysis_pb2_grpc,
    collections_pb2_grpc,
    items_pb2_grpc,
    models_pb2_grpc,
    search_pb2_grpc,
)
from embeddb_protos.wire.codec import progress_from
from embeddb_protos.wire.errors import error_from_call

__all__ = ["MAX_MESSAGE_BYTES", "NO_ANSWER", "Connection", "Stubs", "UnderWay"]

MAX_MESSAGE_BYTES = 128 << 20
"""Largest message taken, in bytes; the server's default."""
NO_ANSWER = "the server ended the call without an answer"

# gRPC itself retries these when the server cannot be reached, since to repeat them changes nothing: puts are
# idempotent. Not among them: a delete or a registration that succeeded unseen would fail the second time.
_SAFE_TO_RETRY = [
    {"service": "embeddb.v1.ItemService", "method": "PutItems"},
    {"service": "embeddb.v1.ItemService", "method": "GetItems"},
    {"service": "embeddb.v1.ItemService", "method": "ListItems"},
    {"service": "embeddb.v1.SearchService", "method": "Search"},
    {"service": "embeddb.v1.AnalysisService"},
    {"service": "embeddb.v1.ModelService", "method": "ListModels"},
    {"service": "embeddb.v1.ModelService", "method": "GetModel"},
    {"service": "embeddb.v1.ModelService", "method": "Embed"},
    {"service": "embeddb.v1.CollectionService", "method": "ListCollections"},
    {"service": "embeddb.v1.CollectionService", "method": "GetCollection"},
    {"service": "embeddb.v1.CollectionService", "method": "StartBackfill"},
    {"service": "embeddb.v1.CollectionService", "method": "ListBackfills"},
    {"service": "embeddb.v1.AdminService", "method": "GetStats"},
    {"service": "embeddb.v1.AdminService", "method": "ListKeys"},
]
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": _SAFE_TO_RETRY,
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

R = TypeVar("R")

_CHANNEL_OPTIONS = [
    # Long answers have no deadline: a server that is gone without a word must not be waited for for ever.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
]


class Stubs:
    """A channel and a stub for each service over it.

    Args:
        library: what makes the channel: `grpc`, or `grpc.aio` for one of an event loop.
        address: host and port.
        timeout: seconds that a call may take.
        access: an API key and TLS, for a server that wants them.
    """

    @checked
    def __init__(self, library: ModuleType, address: str, timeout: float, access: Access | None) -> None:
        check_address("address", address)
        access = access or Access()
        credentials = access.credentials()
        if credentials is None:
            channel = library.insecure_channel(address, options=_CHANNEL_OPTIONS)
        else:
            channel = library.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
        self.timeout = timeout
        self._channel = channel
        self._metadata = access.metadata
        self.items = items_pb2_grpc.ItemServiceStub(channel)
        self.search = search_pb2_grpc.SearchServiceStub(channel)
        self.models = models_pb2_grpc.ModelServiceStub(channel)
        self.collections = collections_pb2_grpc.CollectionServiceStub(channel)
        self.analysis = analysis_pb2_grpc.AnalysisServiceStub(channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(channel)

    def retire(self) -> None:
        """Refuse every call from now on; gRPC's own refusals are none of our errors.

        Raises, whenever a call is looked up afterwards:
            UnavailableError: the client is closed.
        """
        closed: Any = _Closed()
        self.items = self.search = self.models = self.collections = self.analysis = self.admin = closed


class _Closed:
    """Stands where the stubs of an open channel stood."""

    def __getattr__(self, method: str) -> NoReturn:
        raise UnavailableError("the client is closed")


class UnderWay(Generic[R]):
    """A call that was begun."""

    def __init__(self, call: Any, read: Callable[[Any], R]) -> None:
        self._call = call
        self._read = read

    def result(self) -> R:
        """Wait for its answer and read it; see `Connection.call`."""
        try:
            return self._read(self._call.result())
        except grpc.RpcError as error:
            raise error_from_call(error) from None

    def cancel(self) -> None:
        """Give it up; of no effect on a call that has ended."""
        self._call.cancel()


class Connection(Stubs):
    """An open channel. Thread-safe."""

    def __init__(self, address: str, timeout: float, access: Access | None = None) -> None:
        super().__init__(grpc, address, timeout, access)

    def send(self, exchange: Exchange[R], timeout: float | None = None) -> R:
        """Make the call of an exchange and read its answer; see `call`."""
        return exchange.read(self.call(attrgetter(exchange.method)(self), exchange.request, timeout))

    def begin(self, exchange: Exchange[R]) -> UnderWay[R]:
        """Make the call of an exchange and return at once."""
        method = attrgetter(exchange.method)(self)
        return UnderWay(
            method.future(exchange.request, timeout=self.timeout, metadata=self._metadata), exchange.read
        )

    def pages(self, page: Callable[[str], Exchange[tuple[list[R], str]]]) -> Iterator[R]:
        """Everything on the pages of a listing, each of which gives the token of the next."""
        token = ""
        while True:
            found, token = self.send(page(token))
            yield from found
            if not token:
                return

    def call(self, method: Callable[..., R], request: Any, timeout: float | None = None) -> R:
        """Make a unary call.

        Args:
            timeout: seconds; the connection's own if None.

        Raises:
            EmbeddbError: whatever the server or gRPC reports, as our own class.
        """
        try:
            return method(
                request, timeout=self.timeout if timeout is None else timeout, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise error_from_call(error) from None

    def stream(self, method: Callable[..., Iterable[R]], requests: Iterator[Any]) -> Iterator[R]:
        """Make a call that streams both ways; it has no deadline, and ends with its requests.

        Raises:
            EmbeddbError: whatever the server or gRPC reports, as our own class.
            Exception: what making the requests raised, once those before are answered.
        """
        failed: list[Exception] = []
        call: Any = method(_until_failed(requests, failed), metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise error_from_call(error) from None
        except grpc.FutureCancelledError:
            raise CancelledError("the stream was cancelled") from None
        finally:
            call.cancel()  # Of no effect on a call that has ended.
        if failed:
            raise failed[0]

    def follow(self, exchange: Exchange[R], on_progress: OnProgress | None) -> R:
        """Make the call of an exchange that streams: it has no deadline, and ends with its answer.

        Raises:
            EmbeddbError: whatever the server or gRPC reports, as our own class.
        """
        call: Any = attrgetter(exchange.method)(self)(exchange.request, metadata=self._metadata)
        try:
            for response in call:
                if response.HasField("response"):
                    return exchange.read(response.response)
                if on_progress is not None:
                    on_progress(progress_from(response.progress))
        except grpc.RpcError as error:
            raise error_from_call(error) from None
        finally:
            call.cancel()  # Whoever gives up ends the work; of no effect on a call that has ended.
        raise UnavailableError(NO_ANSWER)

    def close(self) -> None:
        """Close the channel; calls under way are cancelled. Once more does nothing."""
        self.retire()
        self._channel.close()


def _until_failed(requests: Iterator[Any], failed: list[Exception]) -> Iterator[Any]:
    """The requests up to what making them raises, which is noted: gRPC would not tell whoever waits."""
    try:
        yield from requests
    except Exception as error:
        failed.append(error)
