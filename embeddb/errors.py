"""Everything that can go wrong, as one tree.

    EmbeddbError
    ├── InvalidArgumentError      a field of the request is wrong; nothing was changed
    ├── NotFoundError             no such model, collection or item
    ├── AlreadyExistsError        the name is taken
    ├── FailedPreconditionError   right in form, but not in the present state
    ├── PermissionDeniedError     the operator has not allowed it
    ├── UnauthenticatedError      no credentials, or wrong ones
    ├── ResourceExhaustedError    a limit, a full queue or a full disk
    ├── DeadlineExceededError     the caller's deadline passed first
    ├── CancelledError            the caller went away
    ├── UnavailableError          cannot be reached, starting or shutting down; retry
    ├── DataLossError             stored bytes are damaged
    └── InternalError             a defect of embeddb

Errors compare by class and text, pickle, and keep their details in attributes, so that the server
can put them on the wire and the client can raise the same error again.
"""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = [
    "AlreadyExistsError",
    "CancelledError",
    "DataLossError",
    "DeadlineExceededError",
    "EmbeddbError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
    "or_raise",
]

T = TypeVar("T")


class EmbeddbError(Exception):
    """Base of every error that embeddb raises.

    Attributes:
        message: one sentence that says what is wrong and what to do.
        details: string facts about it (`field`, `given`, `allowed`, `resource`, `name`), as they
            travel over the wire.
        request_id: the server's id of the failed request, where there was one.
    """

    def __init__(self, message: str, *, request_id: str | None = None, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.request_id = request_id

    def __str__(self) -> str:
        return self.message

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.message))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way calls the class with `args` alone, which subclasses here do not accept.
        return _revive, (type(self), self.message, self.request_id, self.details)

    @classmethod
    def from_details(
        cls, message: str, details: dict[str, str], request_id: str | None = None
    ) -> EmbeddbError:
        """Make the error again from what travelled: its text, its details and the request's id."""
        return _revive(cls, message, request_id, details)


def _revive(
    cls: type[EmbeddbError], message: str, request_id: str | None, details: dict[str, str]
) -> EmbeddbError:
    error = cls.__new__(cls)
    EmbeddbError.__init__(error, message, request_id=request_id, **details)
    return error


class InvalidArgumentError(EmbeddbError):
    """A field of the request is wrong: says which, what was given and what is allowed."""

    def __init__(self, field: str, given: object, allowed: str) -> None:
        shown = _shorten(given)
        super().__init__(f"{field}: {shown} given, {allowed}", field=field, given=shown, allowed=allowed)


class NotFoundError(EmbeddbError):
    """No model, collection or item of that name.

    Args:
        resource: "model", "collection" or "item".
        name: the name that was looked for.
        known: names that exist, offered in the message.
    """

    def __init__(self, resource: str, name: str, known: list[str] | None = None) -> None:
        hint = f"; there are: {', '.join(sorted(known)[:10])}" if known else ""
        super().__init__(f"no {resource} named {_shorten(name)}{hint}", resource=resource, name=name)


class AlreadyExistsError(EmbeddbError):
    """The name is taken; nothing is silently replaced."""

    def __init__(self, resource: str, name: str) -> None:
        super().__init__(
            f"a {resource} named {_shorten(name)} exists already; remove it first or choose another name",
            resource=resource,
            name=name,
        )


class FailedPreconditionError(EmbeddbError):
    """The request is right in form, but not in the present state; the message says what to do first."""


class PermissionDeniedError(EmbeddbError):
    """The operator of the server has not allowed this."""


class UnauthenticatedError(EmbeddbError):
    """The call carried no credentials, or wrong ones."""


class ResourceExhaustedError(EmbeddbError):
    """A limit was reached: a queue, a quota or the disk is full."""


class DeadlineExceededError(EmbeddbError):
    """The caller's deadline passed before the answer was ready."""


class CancelledError(EmbeddbError):
    """The caller gave up before the answer was ready."""


class UnavailableError(EmbeddbError):
    """The server cannot be reached, is starting or is shutting down."""


class DataLossError(EmbeddbError):
    """Stored bytes are damaged beyond what a rebuild can mend."""


class InternalError(EmbeddbError):
    """A defect of embeddb itself; the server's log has the traceback under the request id."""


def _shorten(value: object, limit: int = 80) -> str:
    """Show a value in an error without echoing megabytes of it back."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    except ValueError:
        # Python writes no number of more than 4,300 digits.
        text = f"{type(value).__name__} of a huge number"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def or_raise(outcome: T | EmbeddbError) -> T:
    """Give one outcome of a batch, or raise it if it is an error."""
    if isinstance(outcome, EmbeddbError):
        raise outcome
    return outcome
