"""The gRPC server: services, health, reflection, limits and an orderly end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from embeddb.database import Database
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
from embeddb_server.authorization import AuthorizationInterceptor
from embeddb_server.interceptor import ErrorInterceptor
from embeddb_server.keys import KeyFile
from embeddb_server.services import euclides
from embeddb_server.services.admin import AdminService
from embeddb_server.services.analysis import AnalysisService
from embeddb_server.services.collections import CollectionService
from embeddb_server.services.euclides import SimilarService
from embeddb_server.services.items import ItemService
from embeddb_server.services.models import ModelService
from embeddb_server.services.search import SearchService

__all__ = ["MAX_MESSAGE_BYTES", "Server"]

MAX_MESSAGE_BYTES = 128 << 20
"""Largest message taken or sent unless the operator says otherwise, in bytes."""
# An open stream holds a thread for as long as it lives, so there are more than there are cores.
THREADS = 128
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
        database: what to serve.
        address: host and port, such as "127.0.0.1:7080"; port 0 takes a free one.
        keys: the API keys that callers need, once there are any; nobody needs one if None.
        credentials: for TLS; connections are in clear if None.
        max_message_bytes: largest message taken or sent.
        max_calls: most calls under way; more are refused with RESOURCE_EXHAUSTED.
        interceptors: see every call first, in this order.
        similar: serves EuclidesDB's API beside ours; nobody does if None.

    Raises:
        FailedPreconditionError: the address cannot be bound.
    """

    def __init__(
        self,
        database: Database,
        address: str = "127.0.0.1:0",
        *,
        keys: KeyFile | None = None,
        credentials: grpc.ServerCredentials | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_calls: int | None = None,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
        similar: SimilarService | None = None,
    ) -> None:
        authorization = [] if keys is None else [AuthorizationInterceptor(keys)]
        self._server = grpc.server(
            futures.ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            interceptors=[*interceptors, ErrorInterceptor(), *authorization],
            maximum_concurrent_rpcs=max_calls,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                # Without this a second server would share the port and take half of the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        items_pb2_grpc.add_ItemServiceServicer_to_server(ItemService(database), self._server)
        search_pb2_grpc.add_SearchServiceServicer_to_server(SearchService(database), self._server)
        analysis_pb2_grpc.add_AnalysisServiceServicer_to_server(AnalysisService(database), self._server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(database), self._server)
        collections_pb2_grpc.add_CollectionServiceServicer_to_server(
            CollectionService(database), self._server
        )
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(database), self._server)
        self._services = SERVICES
        if similar is not None:
            similar_pb2_grpc.add_SimilarServicer_to_server(similar, self._server)
            self._services = (*SERVICES, euclides.SERVICE)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise FailedPreconditionError(f"cannot listen on {address}: {error}") from None
        self.address = f"{address.rpartition(':')[0]}:{port}"

    def start(self) -> None:
        """Begin to serve; health says so from now on."""
        self._server.start()
        for service in ("", *self._services):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Refuse new calls at once, let those under way finish for up to `drain_seconds`, and return."""
        self._health.enter_graceful_shutdown()
        # gRPC forgets to count out a stream whose request was no message, and would wait for it for ever.
        self._server.stop(drain_seconds).wait(drain_seconds + CANCEL_SECONDS)
