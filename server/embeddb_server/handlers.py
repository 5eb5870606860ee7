"""Calls of all four kinds as one kind, for interceptors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

__all__ = ["Behaviour", "CallInterceptor", "Method", "carried", "inside", "sent"]

# Generic for the type checker alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""Takes a request, or an iterator over a stream of them, and returns a response, or an iterator."""


@dataclass(frozen=True)
class Method:
    """What an interceptor knows of a method.

    Attributes:
        name: the method's full name, such as "/embeddb.v1.SearchService/Search".
        takes_stream: whether there is a stream of requests.
        gives_stream: whether there is a stream of responses.
        parse: makes a request of its bytes; None where requests are bytes.
    """

    name: str
    takes_stream: bool
    gives_stream: bool
    parse: Callable[[bytes], Any] | None


class CallInterceptor(grpc.ServerInterceptor):
    """An interceptor that puts something around the behaviour of every method that there is.

    It does so at a method's first call, so that a call costs no more than what it runs through: the
    interceptors that come after this one must be of this kind, too.
    """

    parses = False
    """Whether the behaviour that `around` gives takes requests as the bytes that came."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    @abstractmethod
    def around(self, behaviour: Behaviour, method: Method) -> Behaviour:
        """The behaviour with something around it."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler with another behaviour; None if there is no such method."""
        name = handler_call_details.method
        if name not in self._handlers:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[name] = self._wrapped(name, handler)
        return self._handlers[name]

    def _wrapped(self, name: str, handler: Handler) -> Handler:
        method = Method(
            name, handler.request_streaming, handler.response_streaming, handler.request_deserializer
        )
        kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
        behaviour = next(each for each in kinds if each is not None)
        requests = "stream" if method.takes_stream else "unary"
        responses = "stream" if method.gives_stream else "unary"
        make = getattr(grpc, f"{requests}_{responses}_rpc_method_handler")
        made: Handler = make(
            self.around(behaviour, method), None if self.parses else method.parse, handler.response_serializer
        )
        return made


def inside(
    make: Callable[[grpc.ServicerContext], AbstractContextManager[None]],
    behaviour: Behaviour,
    method: Method,
) -> Behaviour:
    """The behaviour inside a context: a call is in it until its answer, a stream until its end."""

    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        with make(context):
            return behaviour(request, context)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with make(context):
            yield from behaviour(request, context)

    return stream if method.gives_stream else unary


def sent(context: grpc.ServicerContext, key: str) -> str:
    """What the caller sent beside the request under a key, in small letters; nothing if that is not there."""
    return next((str(value) for name, value in context.invocation_metadata() if name == key), "")


def carried(request: Any) -> Any:
    """The request that a stream's message carries; any other message itself."""
    fields = request.DESCRIPTOR.fields_by_name
    return next((getattr(request, name) for name in ("batch", "request") if name in fields), request)
