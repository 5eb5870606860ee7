"""What every call gets, unary and streaming alike: its deadline, and a status for an engine's error."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc
from grpc_status import rpc_status

from embeddb.deadline import Deadline, within
from embeddb.errors import EmbeddbError, InternalError
from embeddb_protos.wire.errors import status_message
from embeddb_server import logs
from embeddb_server.handlers import Behaviour, Handler, wrap

__all__ = ["ErrorInterceptor"]

REQUEST_ID = "x-request-id"
CENTURY_SECONDS = 100 * 365 * 24 * 3600

log = logging.getLogger(__name__)


class ErrorInterceptor(grpc.ServerInterceptor):
    """Gives every call a request id (the caller's `x-request-id`, or a new one), a deadline and a status.

    An error that is not one of ours is a defect: its traceback goes to the log under the request id, and
    the caller is told that id and nothing else.
    """

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the call's handler, whichever of the four kinds it is."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        metadata = dict(handler_call_details.invocation_metadata or ())
        request_id = str(metadata.get(REQUEST_ID) or uuid.uuid4().hex)
        guard = _guard_stream if handler.response_streaming else _guard_unary
        return wrap(handler, lambda behaviour: guard(behaviour, handler_call_details.method, request_id))


def _guard_unary(behaviour: Behaviour, method: str, request_id: str) -> Behaviour:
    def guarded(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            with within(_deadline(context)), logs.request(request_id):
                return behaviour(request, context)
        except Exception as error:
            _abort(context, error, method, request_id)

    return guarded


def _guard_stream(behaviour: Behaviour, method: str, request_id: str) -> Behaviour:
    def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            deadline = _deadline(context)
            answers = behaviour(request, context)
            while True:
                # Left before each answer is given away: who resumes a generator need not be the same thread.
                with within(deadline), logs.request(request_id):
                    answer = next(answers, None)
                if answer is None:
                    return
                yield answer
        except Exception as error:
            _abort(context, error, method, request_id)

    return guarded


def _deadline(context: grpc.ServicerContext) -> Deadline:
    """When the caller stops waiting, and whether it has gone already."""
    remaining = context.time_remaining()
    # A call without a deadline is given some centuries, more than waiting can be told.
    unlimited = remaining is None or remaining > CENTURY_SECONDS
    at = math.inf if unlimited else time.monotonic() + remaining
    return Deadline(at, gone=lambda: not context.is_active())


def _abort(context: grpc.ServicerContext, error: Exception, method: str, request_id: str) -> NoReturn:
    if not context.is_active() and not isinstance(error, EmbeddbError):
        # The handler aborted the call itself, or the caller is gone and there is nobody to tell.
        raise error
    if not isinstance(error, EmbeddbError):
        with logs.request(request_id):
            log.error("%s failed, request id %s", method, request_id, exc_info=error)
        error = InternalError(f"internal error; the server's log has it under request id {request_id}")
    context.abort_with_status(rpc_status.to_status(status_message(error, request_id)))
    raise AssertionError("abort_with_status always raises")
