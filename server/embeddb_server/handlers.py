"""Calls of all four kinds as one kind, for interceptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

__all__ = ["Behaviour", "Handler", "wrap"]

# Generic for the type checker alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""Takes a request, or an iterator over a stream of them, and returns a response, or an iterator."""


def wrap(handler: Handler, around: Callable[[Behaviour], Behaviour]) -> Handler:
    """The same handler with another behaviour."""
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    behaviour = next(each for each in kinds if each is not None)
    requests = "stream" if handler.request_streaming else "unary"
    responses = "stream" if handler.response_streaming else "unary"
    make = getattr(grpc, f"{requests}_{responses}_rpc_method_handler")
    wrapped: Handler = make(around(behaviour), handler.request_deserializer, handler.response_serializer)
    return wrapped
