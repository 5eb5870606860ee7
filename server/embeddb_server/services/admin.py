"""Administration over gRPC."""

from __future__ import annotations

import grpc

from embeddb_protos.v1 import admin_pb2, admin_pb2_grpc
from embeddb_protos.wire.service import stats_message
from embeddb_server.services.served import Service


class AdminService(Service, admin_pb2_grpc.AdminServiceServicer):
    """Tells the server's figures."""

    def GetStats(  # noqa: D102, N802 - documented in the .proto
        self, request: admin_pb2.GetStatsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetStatsResponse:
        return stats_message(self._database.stats())
