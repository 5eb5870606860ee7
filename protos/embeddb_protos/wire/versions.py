"""What the other side says where it is of another version than this one."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import TypeVar

from embeddb.errors import FailedPreconditionError, InvalidArgumentError

__all__ = ["meaning", "one_each"]

T = TypeVar("T")
S = TypeVar("S", bound=Sized)


def meaning(field: str, meanings: Mapping[int, T], number: int) -> T:
    """What a number of an enumeration stands for.

    Raises:
        InvalidArgumentError: it is one of a later version.
    """
    if number not in meanings:
        raise InvalidArgumentError(field, number, "is not known to this version")
    return meanings[number]


def one_each(asked: int, outcomes: S) -> S:
    """The outcomes of a batch, if they are as many as was asked: who does not know a field passes over it.

    Raises:
        FailedPreconditionError: they are not.
    """
    if len(outcomes) != asked:
        raise FailedPreconditionError(
            f"the server gave {len(outcomes):,} outcomes for a batch of {asked:,}: it is of another version "
            f"than this client, and does not understand how the batch was sent"
        )
    return outcomes
