"""Calls of all four kinds as one kind, for interceptors."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor

__all__ = [
    "AbortedError",
    "Asked",
    "Behaviour",
    "Call",
    "CallInterceptor",
    "Method",
    "Steps",
    "carried",
    "inside",
    "sent",
]

Q = TypeVar("Q")
A = TypeVar("A")


class AbortedError(Exception):
    """A call ends with a status that is not OK."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__(status.details)
        self.status = status


class Call:
    """One call, as interceptors and services see it on whichever thread they run. Thread-safe.

    It has that part of `grpc.ServicerContext` which they use; gRPC's own for asynchronous servers is for the
    thread of the event loop alone.
    """

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context
        # Read now: once the caller has gone, gRPC frees the memory, even if the call is still worked on.
        self._metadata = context.invocation_metadata() or ()
        self._code: grpc.StatusCode | None = None
        self._changing = threading.Lock()
        self._callbacks: list[Callable[[], None]] | None = []

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What the caller sent beside the request."""
        return self._metadata  # type: ignore[return-value]

    def time_remaining(self) -> float | None:
        """How long the caller waits, in seconds; None for ever."""
        return self._context.time_remaining()

    def has_ended(self) -> bool:
        """Whether nobody waits for the answer any more: it came or was given up."""
        return self._callbacks is None

    def code(self) -> grpc.StatusCode | None:
        """The status that it has been given; None for one that went well, or is under way."""
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        """Give it a status, with which it ends."""
        self._code = code
        self._context.set_code(code)

    def abort(self, status: grpc.Status) -> NoReturn:
        """End it with a status.

        Raises:
            AbortedError: always.
        """
        self._code = status.code
        raise AbortedError(status)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have something called when the call ends; if it has ended, at once, and False is returned.

        gRPC itself would not call it in that case, and a caller that ignores the False would wait for ever.
        """
        with self._changing:
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return True
        callback()
        return False

    def end(self) -> None:
        """Nobody waits any more."""
        with self._changing:
            callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            callback()


class Asked(Generic[Q, A]):
    """A question that a behaviour asks in the midst of its work, answered with those of others at that time.

    Args:
        question: what is asked.
        kind: questions of the same kind may be answered together.
        answer: answers several of one kind, in order.
    """

    def __init__(self, question: Q, kind: Hashable, answer: Callable[[Sequence[Q]], Sequence[A]]) -> None:
        self.question = question
        self.kind = kind
        self.answer = answer
        self._outcome: A | Exception | None = None

    def settle(self, outcome: A | Exception) -> None:
        """Give it its answer, or what went wrong."""
        self._outcome = outcome

    def answer_alone(self) -> None:
        """Answer it here and now."""
        try:
            (outcome,) = self.answer([self.question])
        except Exception as error:
            self.settle(error)
        else:
            self.settle(outcome)

    def result(self) -> A:
        """The answer, once it is there.

        Raises:
            Exception: what went wrong.
        """
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome


Steps: TypeAlias = Generator[Any, None, Any]
"""Yields the responses of a stream, or returns the one of a call.

What is `Asked` it yields too, and goes on when that is settled.
"""

Behaviour = Callable[[Any, Call], Steps]
"""Takes a request, or an iterator over a stream of them."""


@dataclass(frozen=True)
class Method:
    """What an interceptor knows of a method.

    Attributes:
        name: the method's full name, such as "/embeddb.v1.SearchService/Search".
        takes_stream: whether there is a stream of requests.
        gives_stream: whether there is a stream of responses.
        parse: makes a request of its bytes.
        write: makes bytes of a response.
    """

    name: str
    takes_stream: bool
    gives_stream: bool
    parse: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


class CallInterceptor(ABC):
    """Puts something around the behaviour of every method that there is, once for each."""

    @abstractmethod
    def around(self, behaviour: Behaviour, method: Method) -> Behaviour:
        """The behaviour with something around it."""


def inside(make: Callable[[Call], AbstractContextManager[None]], behaviour: Behaviour) -> Behaviour:
    """The behaviour inside a context: a call is in it until its answer, a stream until its end."""

    def steps(request: Any, call: Call) -> Steps:
        with make(call):
            return (yield from behaviour(request, call))

    return steps


def sent(call: Call, key: str) -> str:
    """What the caller sent beside the request under a key, in small letters; nothing if that is not there."""
    for name, value in call.invocation_metadata():
        if name == key:
            return str(value)
    return ""


def carried(request: Any) -> Any:
    """The request that a stream's message carries; any other message itself."""
    field = _carrier(request.DESCRIPTOR)
    return request if field is None else getattr(request, field)


@cache
def _carrier(kind: Descriptor) -> str | None:
    """The field of a stream's messages that carries a request."""
    return next((name for name in ("batch", "request") if name in kind.fields_by_name), None)
