"""The command `embeddb-server`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Sequence

import embeddb
from embeddb.errors import EmbeddbError
from embeddb_server.config import load, to_toml
from embeddb_server.server import Server

log = logging.getLogger("embeddb_server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: serving is the one without a name. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"embeddb-server {embeddb.__version__}")
        return 0
    command = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "serve"
    if command not in COMMANDS:
        print(f"embeddb-server: no command {command!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        COMMANDS[command](arguments)
    except EmbeddbError as error:
        print(f"embeddb-server: {error}", file=sys.stderr)
        return 1
    return 0


def serve(arguments: Sequence[str]) -> None:
    """Serve a data folder until SIGTERM or SIGINT."""
    config = load(arguments)
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    with embeddb.open(config.data, models=config.model_settings, durability=config.durability) as database:
        server = Server(database, f"{config.address}:{config.port}")
        server.start()
        # Whoever starts the server in a script waits for this line.
        data = config.data.resolve()
        print(f"embeddb-server {embeddb.__version__} ready on {server.address}, data in {data}", flush=True)
        end.wait()
        log.info("draining")
        server.stop(config.drain_seconds)
    log.info("stopped")


def show_config(arguments: Sequence[str]) -> None:
    """Print the settings that `serve` would run with, as TOML."""
    print(to_toml(load(arguments)))


COMMANDS = {"serve": serve, "config": show_config}

if __name__ == "__main__":
    sys.exit(main())
