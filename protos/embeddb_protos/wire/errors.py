"""Errors on the wire: the one table of status codes, and both directions of both forms.

An element of a batch that fails carries an `Error` message. A call that fails carries a
`google.rpc.Status` in its trailers: the same code and text, an `ErrorInfo` with the class and the details,
a `BadRequest`, `ResourceInfo` or `RetryInfo` for clients that know only the standard ones, and a
`RequestInfo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from embeddb import errors
from embeddb.errors import EmbeddbError
from embeddb_protos.v1 import common_pb2

__all__ = ["STATUS_CODES", "error_from", "error_from_call", "error_message", "parse_each", "status_message"]

M = TypeVar("M")
T = TypeVar("T")

DOMAIN = "embeddb"
RETRY_SECONDS = 1
"""How long a caller is asked to wait where the same call may succeed later."""

STATUS_CODES: dict[type[EmbeddbError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.CancelledError: grpc.StatusCode.CANCELLED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DataLossError: grpc.StatusCode.DATA_LOSS,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}

_CAUSES = {
    "Socket closed": "it may want TLS, or a certificate of the caller that it trusts, not expired",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "certificate has expired": "its certificate has expired",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not signed by who is trusted here, or by `ca`",
    "Hostname Verification": "its certificate is for another name than that in the address",
    "%5B::1%5D": "nothing listens on ::1, which was tried last; 127.0.0.1 in place of localhost tells more",
    "Connection refused": "nothing listens at that address",
}
"""What it mostly means that a connection failed, by what gRPC says then, in words of TLS or in none.

The first counts. Of a name's addresses, gRPC tells what became of the last one alone.
"""

_CLASSES = {cls.__name__: cls for cls in STATUS_CODES}
_CLASSES_BY_CODE = {code: cls for cls, code in STATUS_CODES.items()}


def error_message(error: EmbeddbError) -> common_pb2.Error:
    """The error as an element of a batch carries it."""
    number, _ = STATUS_CODES[type(error)].value
    return common_pb2.Error(
        code=number, reason=type(error).__name__, message=error.message, details=error.details
    )


def error_from(message: common_pb2.Error) -> EmbeddbError:
    """The error that a batch's element carried; a class unknown to this version is found by its code."""
    cls = _CLASSES.get(message.reason) or _by_number(message.code)
    return cls.from_details(message.message, dict(message.details))


def parse_each(parse: Callable[[M], T], messages: Iterable[M]) -> list[T | EmbeddbError]:
    """Parse every element of a batch; a malformed one gives its error in its place."""
    parsed: list[T | EmbeddbError] = []
    for message in messages:
        try:
            parsed.append(parse(message))
        except EmbeddbError as error:
            parsed.append(error)
    return parsed


def status_message(error: EmbeddbError, request_id: str) -> status_pb2.Status:
    """The error as a failed call carries it in its trailers."""
    number, _ = STATUS_CODES[type(error)].value
    status = status_pb2.Status(code=number, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=type(error).__name__, domain=DOMAIN, metadata=error.details)
    standard = [info, error_details_pb2.RequestInfo(request_id=request_id)]
    if isinstance(error, errors.InvalidArgumentError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.details["field"], description=error.message
        )
        standard.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.NotFoundError | errors.AlreadyExistsError):
        resource, name = error.details["resource"], error.details["name"]
        standard.append(error_details_pb2.ResourceInfo(resource_type=resource, resource_name=name))
    if isinstance(error, errors.ResourceExhaustedError | errors.UnavailableError):
        delay = duration_pb2.Duration(seconds=RETRY_SECONDS)
        standard.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in standard:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def error_from_call(call: grpc.RpcError) -> EmbeddbError:
    """The error behind a failed call: the server's own, or one for what gRPC itself says."""
    status = rpc_status.from_call(call)
    if status is None:
        cls = _CLASSES_BY_CODE.get(call.code(), errors.InternalError)
        return cls.from_details(_explained(call.details() or call.code().name), {})
    cls, details, request_id = _by_number(status.code), {}, None
    for packed in status.details:
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            packed.Unpack(info)
            if info.domain == DOMAIN:
                cls, details = _CLASSES.get(info.reason, cls), dict(info.metadata)
        elif packed.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
            request = error_details_pb2.RequestInfo()
            packed.Unpack(request)
            request_id = request.request_id
    return cls.from_details(status.message, details, request_id)


def _explained(said: str) -> str:
    """What gRPC says, with what is mostly meant where a connection failed."""
    if not said.startswith("failed to connect"):
        return said
    cause = next((cause for sign, cause in _CAUSES.items() if sign in said), None)
    return said if cause is None else f"the server cannot be reached: {cause} ({said})"


def _by_number(number: int) -> type[EmbeddbError]:
    for code, cls in _CLASSES_BY_CODE.items():
        if code.value[0] == number:
            return cls
    return errors.InternalError
