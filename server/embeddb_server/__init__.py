"""embeddb's server: the engine behind gRPC."""

from embeddb_server.server import Server

__all__ = ["Server"]
