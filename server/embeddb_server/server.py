"""The gRPC server: services, health, reflection, limits and an orderly end."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from embeddb.errors import FailedPreconditionError
from embeddb_protos.euclides import similar_pb2_grpc
from embeddb_protos.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    analysis_pb2,
    analysis_pb2_grpc,
    collections_pb2,
    collections_pb2_grpc,
    items_pb2,
    items_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from embeddb_server.authorization import OPEN, AuthorizationInterceptor
from embeddb_server.dispatch import Dispatcher
from embeddb_server.handlers import CallInterceptor
from embeddb_server.interceptor import ErrorInterceptor
from embeddb_server.keys import KeyFile
from embeddb_server.limits import Limits
from embeddb_server.services import euclides
from embeddb_server.services.admin import AdminService
from embeddb_server.services.analysis import AnalysisService
from embeddb_server.services.collections import CollectionService
from embeddb_server.services.euclides import SimilarService
from embeddb_server.services.items import ItemService
from embeddb_server.services.models import ModelService
from embeddb_server.services.search import SearchService
from embeddb_server.services.served import Served
from embeddb_server.streams import StreamInterceptor

if TYPE_CHECKING:
    from embeddb.database import Database

__all__ = ["Server"]

T = TypeVar("T")

# For calls that are no streams: more than there are cores, for most wait for a model or a disk.
CALL_THREADS = 64
# gRPC lets so many through where `max_calls` is low, for it counts more calls than there are.
SPARE_CALLS = 64
DRAIN_SECONDS = 30.0
# What a call that was cancelled is given to come to its end.
CANCEL_SECONDS = 2.0
SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (items_pb2, "ItemService"),
        (search_pb2, "SearchService"),
        (analysis_pb2, "AnalysisService"),
        (models_pb2, "ModelService"),
        (collections_pb2, "CollectionService"),
        (admin_pb2, "AdminService"),
    )
)


class Server:
    """Serves one database. Listens from `start` to `stop`; the database stays its owner's to close.

    Args:
        database: what to serve; None if it is not open yet, and `serve` will be called. Until then health
            tells that nothing is served, and calls are told to come again.
        address: host and port, such as "127.0.0.1:7080"; port 0 takes a free one.
        keys: the API keys that callers need, once there are any; nobody needs one if None.
        keys_required: whether they need one even when there are none any more.
        credentials: for TLS; connections are in clear if None.
        limits: what callers may ask.
        interceptors: see every call first, in this order.
        tracing: sees every call before these.
        euclides_collection: serves EuclidesDB's API, too, over this collection; nobody does if None.
        euclides_shutdown: what its Shutdown calls; its callers may not if None.

    Raises:
        FailedPreconditionError: the address cannot be bound.
    """

    def __init__(
        self,
        database: Database | None,
        address: str = "127.0.0.1:0",
        *,
        keys: KeyFile | None = None,
        keys_required: bool = False,
        credentials: grpc.ServerCredentials | None = None,
        limits: Limits | None = None,
        interceptors: Sequence[CallInterceptor] = (),
        tracing: grpc.aio.ServerInterceptor | None = None,
        euclides_collection: str | None = None,
        euclides_shutdown: Callable[[], None] | None = None,
    ) -> None:
        limits = limits or Limits()
        self._served = Served(database)
        self._is_open = database is not None
        search = SearchService(self._served)
        authorization = [] if keys is None else [AuthorizationInterceptor(keys, keys_required)]
        self._dispatcher = Dispatcher(
            [
                *interceptors,
                ErrorInterceptor(limits),
                *authorization,
                StreamInterceptor(limits.max_streams),
            ],
            CALL_THREADS + limits.max_streams,
            limits.max_calls,
            {**search.quick, OPEN: lambda _: True},
        )
        # gRPC's part is this thread's alone.
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc", daemon=True)
        self._thread.start()
        outer = [] if tracing is None else [tracing]
        server = self._server = self._on_loop(_made([*outer, self._dispatcher], limits))
        _add_services(server, self._served, search, keys)
        self._services = SERVICES
        if euclides_collection is not None:
            similar = SimilarService(self._served, euclides_collection, euclides_shutdown)
            similar_pb2_grpc.add_SimilarServicer_to_server(similar, server)
            self._services = (*SERVICES, euclides.SERVICE)
        self._health = _add_health(server, self._services)
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            self.address = _bind(server, address, credentials)
        except FailedPreconditionError:
            self._end()
            raise

    def start(self) -> None:
        """Begin to take calls; health says that they are served, if the database is open."""
        self._on_loop(self._server.start())
        if self._is_open:
            self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def serve(self, database: Database) -> None:
        """Serve a database that was not open when the server was made; health says so from now on."""
        self._served.database = database
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Refuse new calls at once, let those under way finish for up to `drain_seconds`, and return."""
        if self._loop.is_closed():
            return
        self._health.enter_graceful_shutdown()
        # What does not heed its cancellation is not waited for.
        with suppress(TimeoutError):
            self._on_loop(asyncio.wait_for(self._server.stop(drain_seconds), drain_seconds + CANCEL_SECONDS))
        self._end()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        """End the loop, and with it whoever waits for requests."""
        self._on_loop(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._dispatcher.close()

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", *self._services):
            self._health.set(service, status)


async def _made(interceptors: Sequence[grpc.aio.ServerInterceptor], limits: Limits) -> grpc.aio.Server:
    """gRPC's server, which belongs to the loop that this runs on."""
    return grpc.aio.server(
        interceptors=interceptors,
        # Refuses calls before their requests are received. To be exact is for the dispatcher: gRPC decides
        # on a call when the one before it comes, and counts calls for a while after they have been answered.
        maximum_concurrent_rpcs=max(SPARE_CALLS, 2 * limits.max_calls),
        options=[
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.max_send_message_length", limits.max_message_bytes),
            # Clients ask every 30 s whether the server is still there.
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
            # Without this a second server would share the port and take half of the calls.
            ("grpc.so_reuseport", 0),
        ],
    )


def _add_services(
    server: grpc.aio.Server, served: Served, search: SearchService, keys: KeyFile | None
) -> None:
    items_pb2_grpc.add_ItemServiceServicer_to_server(ItemService(served), server)
    search_pb2_grpc.add_SearchServiceServicer_to_server(search, server)
    analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(AnalysisService(served), server)
    models_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(served), server)
    collections_pb2_grpc.add_CollectionServiceServicer_to_server(CollectionService(served), server)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(served, keys), server)


def _add_health(server: grpc.aio.Server, services: Sequence[str]) -> health.HealthServicer:
    """Tell the health of these services, and let callers look at their messages."""
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.ReflectionServicer(names), server)
    return servicer


async def _cancel_all() -> None:
    """Cancel what runs on this loop, and wait for its end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    """Take an address; returns it with the port that was taken.

    Raises:
        FailedPreconditionError: it cannot be taken.
    """
    _check_address(address)
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise FailedPreconditionError(f"cannot listen on {address}: {error}") from None
    return f"{address.rpartition(':')[0]}:{port}"


def _check_address(address: str) -> None:
    """Try an address first: gRPC would write pages of log and not say what is wrong."""
    host, _, port = address.rpartition(":")
    reason = "it has no address"
    try:
        candidates = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        candidates, reason = [], error.strerror or reason
    for family, kind, protocol, _, where in candidates:
        with socket.socket(family, kind, protocol) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(where)
            except OSError as error:
                reason = error.strerror or reason
            else:
                return
    raise FailedPreconditionError(f"cannot listen on {address}: {reason}")
