"""One call of a server as plain data, which either client sends.

An `Exchange` says where a call goes, what is sent and what the answer means. The clients differ only in how
they wait for the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Exchange", "nothing"]

R = TypeVar("R")


@dataclass(frozen=True)
class Exchange(Generic[R]):
    """One call.

    Attributes:
        method: the attribute of a connection that makes the call, such as "items.GetItems".
        request: the message to send.
        read: makes the result of the response message.
        streamed: whether messages of progress come before that one.
    """

    method: str
    request: Any
    read: Callable[[Any], R]
    streamed: bool = False


def nothing(response: object) -> None:
    """Read a response that says no more than that it is done."""
