"""The command `embeddb-server`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import embeddb
from embeddb.errors import EmbeddbError
from embeddb.models import ModelSettings
from embeddb.storage import Durability
from embeddb_server.server import Server

log = logging.getLogger("embeddb_server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a data folder until SIGTERM or SIGINT; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        _serve(options)
    except EmbeddbError as error:
        print(f"embeddb-server: {error}", file=sys.stderr)  # noqa: T201 - a command's last words
        return 1
    return 0


def _serve(options: argparse.Namespace) -> None:
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    with embeddb.open(
        options.data, models=_model_settings(options), durability=Durability(options.durability)
    ) as database:
        server = Server(database, f"{options.address}:{options.port}")
        server.start()
        # Whoever starts the server in a script waits for this line.
        data = options.data.resolve()
        ready = f"embeddb-server {embeddb.__version__} ready on {server.address}, data in {data}"
        print(ready, flush=True)  # noqa: T201
        end.wait()
        log.info("draining")
        server.stop()
    log.info("stopped")


def _model_settings(options: argparse.Namespace) -> ModelSettings:
    return ModelSettings(
        folder=options.models,
        allow_programs=options.allow_programs,
        python_modules=tuple(options.allow_module),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="embeddb-server", description="Serve an embeddb data folder over gRPC."
    )
    parser.add_argument("--data", type=Path, required=True, help="the data folder; made if it is not there")
    parser.add_argument(
        "--address", default="127.0.0.1", help="the address to listen on (default %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=7080, help="0 takes a free one (default %(default)s)")
    trust = parser.add_argument_group("what models are trusted with (docs/models.md)")
    trust.add_argument("--models", type=_folder, metavar="DIR", help="the only folder to read model files in")
    trust.add_argument(
        "--allow-programs",
        action="store_true",
        help="run model files in it that are programs: TorchScript and .pt2",
    )
    trust.add_argument(
        "--allow-module",
        action="append",
        default=[],
        metavar="NAME",
        help="let classes of this Python module be models; may be given more than once",
    )
    parser.add_argument(
        "--durability",
        choices=[each.value for each in Durability],
        default=Durability.SYNC.value,
        help="sync: a write is on the disk when it returns; async: within about a second, so that a power "
        "failure may lose the last writes or damage the folder (default %(default)s)",
    )
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="info",
        help="how much to log on standard error (default %(default)s)",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {embeddb.__version__}")
    return parser


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} given, must be a folder")
    return folder


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} given, must be 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
