"""The command line, run in this process against the session's server."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embeddb_client import Collection
from embeddb_client.cli.main import main
from embeddb_server import Server
from tests.conftest import PHOTOS


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Ran]
OnTerminal = Callable[..., tuple[int, str]]
COMMAND = [sys.executable, "-c", "import sys; from embeddb_client.cli.main import main; sys.exit(main())"]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C is heeded even where a shell runs the tests in the background and has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `embeddb` with these arguments; it has no contexts, and the server from the environment."""
    monkeypatch.setenv("EMBEDDB_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("EMBEDDB_SERVER", server.address)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def on_terminal(server: Server, tmp_path: Path) -> OnTerminal:
    """Runs `embeddb` as a process on a terminal of its own; gives its exit code and all that was shown.

    What the terminal answers lies there before it is asked: who asks waits for a tenth of a second, and on a
    busy machine it would come later.
    """
    environment = {
        "TERM": "xterm-256color",
        "COLUMNS": "120",
        "EMBEDDB_CONFIG": str(tmp_path / "none.toml"),
        "EMBEDDB_SERVER": server.address,
    }

    def run(*arguments: object, answers: bytes = b"") -> tuple[int, str]:
        here, there = pty.openpty()
        termios.tcsetwinsize(there, (40, 120))
        os.write(here, answers)
        shown = b""
        with subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=there,
            stdout=there,
            stderr=there,
            env={**os.environ, **environment},
        ) as process:
            os.close(there)
            while True:
                try:
                    shown += os.read(here, 1 << 16)
                except OSError:
                    break  # The command has closed its end.
        os.close(here)
        return process.returncode, shown.decode()

    return run


@pytest.fixture
def pets(make_collection: Callable[..., Collection]) -> Collection:
    """A cat, a cup of coffee and a text, embedded by `starter` and `tiny`."""
    pets = make_collection("starter", "tiny")
    pets.put("cat [b]", PHOTOS / "chelsea.png", {"kind": "pet"})
    pets.put("cup", PHOTOS / "coffee.png")
    pets.put("note :cat:", "a text about a rocket")
    return pets
