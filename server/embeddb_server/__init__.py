"""embeddb's server: the engine behind gRPC.

Importing it brings nothing else, so that the command can say how numpy's threads wait before they are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embeddb_server.limits import Limits
    from embeddb_server.server import Server

__all__ = ["Limits", "Server"]


def __getattr__(name: str) -> object:
    match name:
        case "Limits":
            from embeddb_server.limits import Limits

            return Limits
        case "Server":
            from embeddb_server.server import Server

            return Server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
