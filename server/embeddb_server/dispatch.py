"""Where calls run: on the threads of a pool, and short ones on the thread of the event loop.

gRPC's event loop receives requests and sends responses, on one thread. Behaviours block, and so they run on
threads of a pool. To hand a call over to one and back takes as long as a short call itself, and much longer
where threads compete for Python's lock. So short calls stay on the thread on which they arrive.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import copy_context
from inspect import isgeneratorfunction
from itertools import islice
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from embeddb.errors import EmbeddbError, ResourceExhaustedError
from embeddb_server.gathering import Company, Gathering
from embeddb_server.handlers import AbortedError, Asked, Behaviour, Call, CallInterceptor, Method, Steps
from embeddb_server.interceptor import request_id, status_of

__all__ = ["Dispatcher", "Quick"]

T = TypeVar("T")

# Generic for the type checker alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

Quick = Callable[[Any], bool]
"""Whether a request is answered in about as much time as it takes to hand it to another thread."""

# To parse a larger one takes longer than to hand it over.
QUICK_BYTES = 64 << 10
# How often a thread that waits for a request looks whether the server has stopped.
LOOK_SECONDS = 1.0


class Dispatcher(grpc.aio.ServerInterceptor):
    """Turns behaviours, with interceptors around them, into asynchronous handlers for gRPC.

    Args:
        interceptors: the first sees every call first.
        threads: how many calls are worked on at the same time.
        max_calls: how many may be under way, whether they are worked on or wait; more are refused.
        quick: which requests may be answered on the loop, by the full name of the method; streams among these
            answer each request with one response, in order, as soon as it comes.
    """

    def __init__(
        self,
        interceptors: Sequence[CallInterceptor],
        threads: int,
        max_calls: int,
        quick: Mapping[str, Quick],
    ) -> None:
        self._interceptors = interceptors
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="call")
        self._max_calls = max_calls
        self._calls = 0
        self._quick = quick
        self._handlers: dict[str, Handler] = {}
        self._gathering = Gathering()
        self._company = Company()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler, as gRPC takes it; None if there is no such method."""
        task = asyncio.current_task()
        assert task is not None
        self._company.calls += 1
        task.add_done_callback(self._forget)
        name = handler_call_details.method
        if name not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[name] = self._dispatched(name, handler)
        return self._handlers[name]

    def close(self) -> None:
        """Take no more calls; those under way go on."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _dispatched(self, name: str, handler: Handler) -> Handler:
        # All of our services are generated, and so have both.
        assert handler.request_deserializer is not None
        assert handler.response_serializer is not None
        method = Method(
            name,
            handler.request_streaming,
            handler.response_streaming,
            handler.request_deserializer,
            handler.response_serializer,
        )
        kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
        behaviour: Behaviour = next(cast("Behaviour", each) for each in kinds if each is not None)
        if not method.gives_stream and not isgeneratorfunction(behaviour):
            behaviour = _stepwise(behaviour)
        for interceptor in reversed(self._interceptors):
            behaviour = interceptor.around(behaviour, method)
        answer = self._streaming if method.gives_stream else self._unary
        requests = "stream" if method.takes_stream else "unary"
        responses = "stream" if method.gives_stream else "unary"
        make = getattr(grpc, f"{requests}_{responses}_rpc_method_handler")
        # Requests and responses are bytes for gRPC: to parse and write them is work, too.
        return cast("Handler", make(answer(behaviour, method)))

    def _unary(self, behaviour: Behaviour, method: Method) -> Callable[..., Any]:
        """What answers with one response."""
        quick = self._quick.get(method.name)

        async def answer(request: Any, context: Context) -> bytes:
            call = await self._admitted(context)
            given, is_quick = _read(request, method, quick)
            steps = _Steps(behaviour(_Requests(request) if method.takes_stream else given, call))
            try:
                response = await self._next(steps, quick=is_quick)
                assert response is not None
                return response
            except AbortedError as aborted:
                await _abort(context, aborted.status)
            finally:
                self._end(call)
                steps.close()

        return answer

    def _streaming(self, behaviour: Behaviour, method: Method) -> Callable[..., Any]:
        """What answers with a stream of responses."""
        quick = self._quick.get(method.name)
        one_by_one = method.takes_stream and quick is not None

        async def answer(request: Any, context: Context) -> AsyncIterator[bytes]:
            call = await self._admitted(context)
            given: deque[Any] = deque()
            source = _Requests(request) if method.takes_stream else request
            steps = _Steps(behaviour(_taken(source, given) if one_by_one else source, call))
            try:
                # A thread waits for the first request, inside the interceptors: they see who sends none, too.
                response = await self._next(steps, quick=False)
                while response is not None:
                    yield response
                    is_quick = one_by_one
                    if one_by_one and (data := await self._apart(anext(request, None))) is not None:
                        received, is_quick = _read(data, method, quick)
                        given.append(received)
                    response = await self._next(steps, quick=is_quick, stream=steps)
            except AbortedError as aborted:
                await _abort(context, aborted.status)
            finally:
                self._end(call)
                # What it still has to end may take its time, even if the caller has gone.
                self._pool.submit(steps.close)

        return answer

    def _forget(self, _: asyncio.Task[Any]) -> None:
        self._company.calls -= 1

    async def _apart(self, coming: Awaitable[T]) -> T:
        """Wait for what comes from elsewhere; meanwhile the call is nobody's company on the loop."""
        self._company.calls -= 1
        try:
            return await coming
        finally:
            self._company.calls += 1

    async def _admitted(self, context: Context) -> Call:
        """A call of a context, unless there are too many."""
        call = Call(context)
        if self._calls >= self._max_calls:
            message = f"{self._calls} calls are under way, and max_calls allows no more; try again"
            await _abort(context, status_of(ResourceExhaustedError(message), request_id(call)))
        self._calls += 1
        return call

    def _end(self, call: Call) -> None:
        self._calls -= 1
        call.end()

    async def _next(self, steps: _Steps, *, quick: bool, stream: object | None = None) -> bytes | None:
        """The next response, worked on by a thread, or on the loop if that is quick; None at the end.

        Args:
            stream: see `Company.is_alone`.
        """
        if not quick or self._gathering.is_paused:
            return await self._apart(
                asyncio.get_running_loop().run_in_executor(self._pool, steps.to_response)
            )
        while isinstance(given := steps.next(), Asked):
            await self._gathering.settle(given, alone=self._company.is_alone(stream))
        return given


class _Steps:
    """A behaviour on its way, in a context of its own, whichever thread takes its steps."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._run = copy_context().run

    def next(self) -> bytes | Asked[Any, Any] | None:
        """What it gives or asks next; None at its end."""
        given: bytes | Asked[Any, Any] | None
        try:
            given = self._run(next, self._steps)
        except StopIteration as end:
            given = end.value
        return given

    def to_response(self) -> bytes | None:
        """What it gives next, and what it asks before that is answered at once; None at its end."""
        while isinstance(given := self.next(), Asked):
            self._run(given.answer_alone)
        return given

    def close(self) -> None:
        """Give it up."""
        try:
            self._steps.close()
        except ValueError:
            # Another thread works on it, and it is closed there, when nobody refers to it any more.
            return


class _Requests(Iterator[bytes]):
    """The requests of a stream, for a thread that waits for them; to be made on the loop."""

    def __init__(self, received: AsyncIterator[bytes]) -> None:
        self._received = received
        self._loop = asyncio.get_running_loop()

    def __next__(self) -> bytes:
        request = None if self._loop.is_closed() else self._wait()
        if request is None:
            raise StopIteration
        return request

    def _wait(self) -> bytes | None:
        """The next request; None if there is none, or the server stops."""
        coming = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        while not self._loop.is_closed():
            try:
                return coming.result(LOOK_SECONDS)
            except TimeoutError:
                continue
            except CancelledError:
                break
        return None

    async def _next(self) -> bytes | None:
        return await anext(self._received, None)


def _taken(requests: Iterator[bytes], given: deque[Any]) -> Iterator[Any]:
    """The first request, and then what is given, as long as there is something when it is asked for."""
    yield from islice(requests, 1)
    while given:
        yield given.popleft()


def _stepwise(behaviour: Callable[[Any, Call], Any]) -> Behaviour:
    """A behaviour that has no steps, as one that asks nothing."""

    def steps(request: Any, call: Call) -> Steps:
        yield from ()
        return behaviour(request, call)

    return steps


def _read(data: Any, method: Method, quick: Quick | None) -> tuple[Any, bool]:
    """A request, and whether it is quick. One that may be quick is parsed here, any other on a thread."""
    if quick is None or len(data) > QUICK_BYTES:
        return data, False
    try:
        request = method.parse(data)
        return request, quick(request)
    except (DecodeError, EmbeddbError):
        # The error is raised again where the request is answered.
        return data, False


async def _abort(context: Context, status: grpc.Status) -> NoReturn:
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort always raises")
