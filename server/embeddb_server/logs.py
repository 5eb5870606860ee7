"""What the server logs: lines for people or JSON for programs, with the request id of the call at hand."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

__all__ = ["configure", "request"]

_request_id: ContextVar[str] = ContextVar("request_id", default="-")

FIELDS = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"
LINE = "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"


def configure(level: str, style: str) -> None:
    """Log to standard error from now on.

    Args:
        level: "debug", "info", "warning" or "error".
        style: "text" or "json".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_request_id)
    handler.setFormatter(JsonFormatter(FIELDS) if style == "json" else logging.Formatter(LINE))
    logging.basicConfig(level=level.upper(), handlers=[handler])


@contextmanager
def request(request_id: str) -> Iterator[None]:
    """What this thread logs inside belongs to a call."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = _request_id.get()
    return True
