"""embeddb's server: the engine behind gRPC."""

from embeddb_server.limits import Limits
from embeddb_server.server import Server

__all__ = ["Limits", "Server"]
