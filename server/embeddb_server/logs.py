"""What the server logs: lines for people or JSON for programs, with the request id of the call at hand."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

__all__ = ["configure", "set_request"]

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
    # It tells of each build of FAISS that the package lacks as of an error, until it finds one.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)


def set_request(request_id: str) -> None:
    """What is logged from now on in this context belongs to a call."""
    _request_id.set(request_id)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = _request_id.get()
    return True
