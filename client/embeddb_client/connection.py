"""A channel to a server: its limits, its retries, and our errors in place of gRPC's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc

from embeddb.errors import CancelledError, InvalidArgumentError
from embeddb_protos.v1 import (
    admin_pb2_grpc,
    analysis_pb2_grpc,
    collections_pb2_grpc,
    items_pb2_grpc,
    models_pb2_grpc,
    search_pb2_grpc,
)
from embeddb_protos.wire.errors import error_from_call

__all__ = ["MAX_MESSAGE_BYTES", "Access", "Connection"]

MAX_MESSAGE_BYTES = 128 << 20
"""Largest message taken, in bytes; the server's default."""

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
    {"service": "embeddb.v1.AdminService", "method": "GetStats"},
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


@dataclass(frozen=True)
class Access:
    """How a server is reached that does not take just anybody.

    Attributes:
        api_key: the secret that `embeddb-server keys add` printed.
        tls: whether the connection is encrypted; any of the files below implies it.
        ca: PEM file of who signs the server's certificate; the system's authorities if None.
        certificate: PEM file of the client's own certificate, for servers that want one.
        key: PEM file of its private key.
    """

    api_key: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def channel(self, address: str, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        """A channel to a server.

        Raises:
            InvalidArgumentError: a file cannot be read, or a certificate is without its key.
        """
        if not (self.tls or self.ca or self.certificate or self.key):
            return grpc.insecure_channel(address, options)
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgumentError("certificate", str(self.certificate), "must come together with key")
        credentials = grpc.ssl_channel_credentials(
            _read("ca", self.ca), _read("key", self.key), _read("certificate", self.certificate)
        )
        return grpc.secure_channel(address, credentials, options)

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """What goes with every call."""
        return [] if self.api_key is None else [("authorization", f"Bearer {self.api_key}")]


def _read(name: str, path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(name, str(path), f"cannot be read: {error.strerror}") from None


class Connection:
    """An open channel with a stub for each service. Thread-safe."""

    def __init__(self, address: str, timeout: float, access: Access | None = None) -> None:
        access = access or Access()
        self.timeout = timeout
        self._metadata = access.metadata
        self._channel = access.channel(
            address,
            [
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            ],
        )
        self.items = items_pb2_grpc.ItemServiceStub(self._channel)
        self.search = search_pb2_grpc.SearchServiceStub(self._channel)
        self.models = models_pb2_grpc.ModelServiceStub(self._channel)
        self.collections = collections_pb2_grpc.CollectionServiceStub(self._channel)
        self.analysis = analysis_pb2_grpc.AnalysisServiceStub(self._channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self._channel)

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
        """
        try:
            yield from method(requests, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_from_call(error) from None
        except grpc.FutureCancelledError:
            raise CancelledError("the stream was cancelled") from None

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        self._channel.close()
