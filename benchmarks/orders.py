"""A process of its own that does as it is ordered to, so that several can be measured in turns."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["Orders", "obey", "process"]

Orders = Callable[..., Any]
"""Has a method of the object that obeys there called: `orders(name, *arguments)`."""

BENCHMARKS = Path(__file__).parent


@contextlib.contextmanager
def process(name: str, command: Sequence[Path | str]) -> Iterator[Orders]:
    """Run a program of the benchmarks; with it ends whatever it has started, however it ends.

    Args:
        name: for the message that it failed.
        command: the program and its arguments; it is run in the folder of the benchmarks, and gets `--orders`
            too, with the file descriptor that it hands to `obey`.
    """
    # What pip has installed has its bytecode; of a checkout the first start writes it, if it may.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    here, there = Pipe()
    with subprocess.Popen(
        [*command, "--orders", str(there.fileno())],
        cwd=BENCHMARKS,
        env=environ,
        start_new_session=True,
        pass_fds=[there.fileno()],
    ) as child:
        there.close()

        def order(method: str, *arguments: object) -> Any:
            try:
                here.send((method, *arguments))
                return here.recv()
            except (EOFError, OSError):
                # It says why before it ends.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(5)
                sys.exit(f"{name} failed")

        try:
            with here:
                yield order
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def obey(descriptor: int, servant: object) -> None:
    """Call the methods of an object that are ordered, and answer with what they return, until the end.

    Args:
        descriptor: of the file that orders come from, as `process` gives it.
    """
    # Whoever orders may end without a word.
    with Connection(descriptor) as orders, contextlib.suppress(EOFError):
        while True:
            method, *arguments = orders.recv()
            orders.send(getattr(servant, method)(*arguments))
