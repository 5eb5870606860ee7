"""Exits 0 if the server in this container serves.

For a server with TLS it takes the variables of the command line: EMBEDDB_TLS_CA, and EMBEDDB_TLS_CERTIFICATE
and EMBEDDB_TLS_KEY where callers have to show a certificate. The server's certificate has to name 127.0.0.1.
The port is what EMBEDDB_SERVER_PORT says, or the file that EMBEDDB_SERVER_CONFIG names. The server's flags
are unknown here.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def channel(address: str) -> grpc.Channel:
    """To the server, encrypted where a variable names a file for that."""
    named = [os.environ.get(f"EMBEDDB_TLS_{file}") for file in ("CA", "KEY", "CERTIFICATE")]
    if not any(named):
        return grpc.insecure_channel(address)
    files = [Path(file).read_bytes() if file else None for file in named]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(*files))


def port() -> str:
    """The server's, found as it finds it itself where no flag says otherwise."""
    file = os.environ.get("EMBEDDB_SERVER_CONFIG")
    settings = tomllib.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    return os.environ.get("EMBEDDB_SERVER_PORT") or str(settings.get("port", 7080))


try:
    address = f"127.0.0.1:{port()}"
    with channel(address) as opened:
        answer = health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=4)
except OSError as error:
    sys.exit(f"{error.filename}: {error.strerror}")
except grpc.RpcError as error:
    sys.exit(f"{address}: {error.code().name}: {error.details()}")  # type: ignore[attr-defined]
if answer.status != health_pb2.HealthCheckResponse.SERVING:
    sys.exit(f"{address}: not serving")
