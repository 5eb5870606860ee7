"""What a failed call carries for clients that know only the standard details of google.rpc."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details

from embeddb import errors
from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb_protos.wire.errors import status_message


def detail(error: EmbeddbError, kind: type[Message]) -> Message | None:
    """The detail of a kind that the error's status carries, None without one."""
    for packed in status_message(error, "mine-7").details:
        if packed.Is(kind.DESCRIPTOR):
            message = kind()
            packed.Unpack(message)
            return message
    return None


def test_a_wrong_field_is_a_violation() -> None:
    carried = detail(InvalidArgumentError("k", 0, "must be at least 1"), details.BadRequest)
    (violation,) = carried.field_violations
    assert (violation.field, violation.description) == ("k", "k: 0 given, must be at least 1")


def test_what_is_not_there_is_a_resource() -> None:
    carried = detail(NotFoundError("item", "a"), details.ResourceInfo)
    assert (carried.resource_type, carried.resource_name) == ("item", "a")


@pytest.mark.parametrize(
    ("cls", "is_retried"),
    [
        (errors.ResourceExhaustedError, True),
        (errors.UnavailableError, True),
        (errors.FailedPreconditionError, False),
        (errors.DeadlineExceededError, False),
    ],
)
def test_what_may_succeed_later_says_when_to_try(cls: type[EmbeddbError], is_retried: bool) -> None:
    carried = detail(cls("not now"), details.RetryInfo)
    assert (carried is not None) is is_retried
    if carried is not None:
        assert carried.retry_delay.ToTimedelta().total_seconds() == 1


def test_every_status_has_the_id_of_the_request() -> None:
    assert detail(errors.InternalError("broken"), details.RequestInfo).request_id == "mine-7"
