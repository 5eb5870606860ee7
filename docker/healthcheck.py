"""Exits 0 if the server in this container serves; for a server without TLS."""

from __future__ import annotations

import os
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

address = f"127.0.0.1:{os.environ.get('EMBEDDB_SERVER_PORT', '7080')}"
try:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=4)
except grpc.RpcError as error:
    sys.exit(f"{address}: {error.code().name}")  # type: ignore[attr-defined]
if answer.status != health_pb2.HealthCheckResponse.SERVING:
    sys.exit(f"{address}: not serving")
