"""What callers may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What callers may ask of the server; what is beyond is refused.

    Attributes:
        max_message_bytes: largest message taken or sent.
        max_elements: most elements of a list in one request: items, ids, contents or expressions.
        max_calls: most calls under way.
        max_streams: most streams among them; each may hold a thread for as long as it is open.
    """

    max_message_bytes: int = 128 << 20
    max_elements: int = 10_000
    max_calls: int = 1000
    max_streams: int = 64
