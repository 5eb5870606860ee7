"""A server of one's own for as long as a block lasts: a process on a free loopback port."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ServerFailedError", "running_server"]

STOP_SECONDS = 30.0


class ServerFailedError(Exception):
    """The server ended before it was ready."""


@contextmanager
def running_server(data: Path) -> Iterator[str]:
    """Serve a data folder; gives the address, and ends the server however the block ends.

    Raises:
        ServerFailedError: it did not start; it has said why on standard error.
    """
    command = [sys.executable, "-m", "embeddb_server.main", "--data", str(data), "--port", "0"]
    process = subprocess.Popen([*command, "--log-level", "warning"], stdout=subprocess.PIPE, text=True)
    try:
        yield _address(process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    """Wait for the line that says where the server listens."""
    assert process.stdout is not None
    for line in process.stdout:
        ready = re.search(r" ready on (\S+),", line)
        if ready is not None:
            return ready[1]
    raise ServerFailedError(f"the server ended with exit code {process.wait()} before it was ready")
