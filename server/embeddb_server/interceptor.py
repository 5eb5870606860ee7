"""What every call gets, unary and streaming alike: its request, its deadline, and a status for an error."""

from __future__ import annotations

import logging
import math
import os
import time
from functools import cache, partial
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, EncodeError, Message
from grpc_status import rpc_status

from embeddb.deadline import Deadline, set_current
from embeddb.errors import EmbeddbError, InternalError, InvalidArgumentError, ResourceExhaustedError
from embeddb_protos.v1.common_pb2 import Vectors
from embeddb_protos.v1.items_pb2 import PutColumns
from embeddb_protos.wire.errors import status_message
from embeddb_server import logs
from embeddb_server.handlers import Asked, Behaviour, Call, CallInterceptor, Method, Steps, carried, sent
from embeddb_server.limits import Limits

__all__ = ["ErrorInterceptor", "request_id", "status_of"]

REQUEST_ID = "x-request-id"
CENTURY_SECONDS = 100 * 365 * 24 * 3600

log = logging.getLogger(__name__)


class ErrorInterceptor(CallInterceptor):
    """Gives every call a request id (the caller's `x-request-id`, or a new one), a deadline and a status.

    An error that is not one of ours is a defect: its traceback goes to the log under the request id, and
    the caller is told that id and nothing else.

    Requests are parsed and responses are written here. gRPC would do it on the one thread that all calls
    share, would report malformed bytes as an internal error and count the stream that they came on as open
    for ever, and would not say why a response that is too large was not sent.

    Args:
        limits: what callers may ask.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def around(self, behaviour: Behaviour, method: Method) -> Behaviour:
        """The behaviour, guarded."""
        parsing = _parsing(behaviour, method, self._limits.max_elements)
        write = partial(_write, method, most=self._limits.max_message_bytes)

        def unary(request: Any, call: Call) -> Steps:
            request_id = _begin(call)
            try:
                return write((yield from parsing(request, call)))
            except Exception as error:
                _abort(call, error, method, request_id)

        def stream(request: Any, call: Call) -> Steps:
            request_id = _begin(call)
            try:
                yield from map(write, parsing(request, call))
            except Exception as error:
                _abort(call, error, method, request_id)

        return stream if method.gives_stream else unary


def _begin(call: Call) -> str:
    """Set the call's deadline and request id; returns the id. gRPC runs each call in a context of its own."""
    own = request_id(call)
    logs.set_request(own)
    set_current(_deadline(call))
    return own


def request_id(call: Call) -> str:
    """The id that a call came with, or a new one."""
    return sent(call, REQUEST_ID) or os.urandom(16).hex()


def status_of(error: EmbeddbError, request_id: str) -> grpc.Status:
    """What a call that fails with an error of ours ends with."""
    status: grpc.Status = rpc_status.to_status(status_message(error, request_id))
    return status


def _parsing(behaviour: Behaviour, method: Method, max_elements: int) -> Behaviour:
    """The behaviour for the bytes of a request, or a stream of them; some are parsed already."""

    def parse(data: bytes | Message) -> Any:
        try:
            request = data if isinstance(data, Message) else method.parse(data)
        except DecodeError:
            raise InvalidArgumentError("request", data, "must be a message as the method takes it") from None
        # Each element takes a byte at least, so that most messages are seen to be small enough at once.
        if request.ByteSize() > max_elements:
            _check_elements(request, max_elements)
        return request

    def parsing(request: Any, call: Call) -> Steps:
        return behaviour(map(parse, request) if method.takes_stream else parse(request), call)

    return parsing


def _write(method: Method, response: Any, most: int) -> bytes | Asked[Any, Any]:
    """The bytes of a response, of which there may be so many; what is asked stays what it is."""
    if isinstance(response, Asked):
        return response
    try:
        data = method.write(response)
    except EncodeError:
        # Ours are well-formed, so that it has more than a message can have.
        size = "more than 2 GiB"
    else:
        if len(data) <= most:
            return data
        size = f"{len(data):,} bytes"
    raise ResourceExhaustedError(
        f"the response has {size}, and max_message_bytes allows {most:,}: "
        f"ask for fewer in one call, or leave out features and payloads"
    )


def _check_elements(request: Message, most: int) -> None:
    request = carried(request)
    lists, columns = _countable(request.DESCRIPTOR)
    counts = {name: _rows(getattr(request, name)) for name in columns}
    in_columns = sum(counts.values())
    for name in lists:
        count = len(getattr(request, name))
        # What comes as columns continues the request's own list.
        counts[name] = count + in_columns if name in ("items", "expressions") else count
    for name, count in counts.items():
        if count > most:
            allowed = f"must have at most {most:,} (max_elements)"
            raise InvalidArgumentError(name, f"{count:,} elements", allowed)


@cache
def _countable(kind: Descriptor) -> tuple[list[str], list[str]]:
    """The names of a message's fields that are lists, and of those that hold many elements otherwise."""
    lists = [field.name for field in kind.fields if field.is_repeated]
    matrices = (PutColumns.DESCRIPTOR, Vectors.DESCRIPTOR)
    return lists, [
        field.name for field in kind.fields if field.message_type in matrices and not field.is_repeated
    ]


def _rows(value: PutColumns | Vectors) -> int:
    """How many elements columns or a matrix hold."""
    if isinstance(value, PutColumns):
        return len(value.ids)
    # Those that are not of whole vectors are refused where they are read.
    return len(value.data) // (4 * max(1, value.dimension))


def _deadline(call: Call) -> Deadline:
    """When the caller stops waiting, and whether it has gone already."""
    remaining = call.time_remaining()
    # Some callers mean "no deadline" by one in some centuries, more than waiting can be told.
    unlimited = remaining is None or remaining > CENTURY_SECONDS
    at = math.inf if remaining is None or unlimited else time.monotonic() + remaining
    return Deadline(at, gone=call.has_ended)


def _abort(call: Call, error: Exception, method: Method, request_id: str) -> NoReturn:
    if not isinstance(error, EmbeddbError):
        log.error("%s failed, request id %s", method.name, request_id, exc_info=error)
        error = InternalError(f"internal error; the server's log has it under request id {request_id}")
    call.abort(status_of(error, request_id))
