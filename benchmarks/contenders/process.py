"""A contender in a process of its own, so that several can be measured in turns."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

__all__ = ["Orders", "process"]

Orders = Callable[..., Any]
"""Has a method of `contenders.__main__.Measured` called there: `orders(name, *arguments)`."""

BENCHMARKS = Path(__file__).parents[1]


@contextlib.contextmanager
def process(name: str, python: Path | str, data: Path, folder: Path) -> Iterator[Orders]:
    """Run a contender; with it ends whatever server it has started, however it ends.

    Args:
        name: one of `CONTENDERS`.
        python: of the environment that it needs.
        data: has what it is measured with.
        folder: for its own.
    """
    # What pip has installed has its bytecode; of a checkout the first start writes it, if it may.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    here, there = Pipe()
    command = [python, "-m", "contenders", name, "--data", data, "--folder", folder]
    command += ["--orders", str(there.fileno())]
    with subprocess.Popen(
        command, cwd=BENCHMARKS, env=environ, start_new_session=True, pass_fds=[there.fileno()]
    ) as child:
        there.close()

        def order(method: str, *arguments: object) -> Any:
            try:
                here.send((method, *arguments))
                return here.recv()
            except (EOFError, OSError):
                sys.exit(f"{name} failed")

        try:
            with here:
                yield order
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
