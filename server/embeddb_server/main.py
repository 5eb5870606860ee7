"""The command `embeddb-server`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import grpc
from prometheus_client import CollectorRegistry, start_http_server

import embeddb
from embeddb.database import Database
from embeddb.errors import EmbeddbError, FailedPreconditionError
from embeddb_server import logs, maintenance
from embeddb_server.config import Config, load, to_toml
from embeddb_server.keys import KeyFile
from embeddb_server.metrics import DatabaseCollector, MetricsInterceptor
from embeddb_server.server import Server
from embeddb_server.services.euclides import SimilarService
from embeddb_server.tracing import tracing

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
    logs.configure(config.log_level, config.log_format)
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    file = KeyFile(config.data)
    _check_exposure(config, file)
    with ExitStack() as stack:
        interceptors = [stack.enter_context(tracing())] if config.tracing else []
        database = stack.enter_context(
            embeddb.open(config.data, models=config.model_settings, durability=config.durability)
        )
        if config.metrics_port is not None:
            interceptors.append(stack.enter_context(_metrics(config, database)))
        server = Server(
            database,
            config.listen,
            keys=file,
            credentials=_credentials(config),
            max_message_bytes=config.max_message_bytes,
            max_calls=config.max_calls,
            interceptors=interceptors,
            similar=_similar(config, database, end),
        )
        server.start()
        # Whoever starts the server in a script waits for this line.
        data = config.data.resolve()
        print(f"embeddb-server {embeddb.__version__} ready on {server.address}, data in {data}", flush=True)
        end.wait()
        log.info("draining")
        server.stop(config.drain_seconds)
    log.info("stopped")


def _similar(config: Config, database: Database, end: threading.Event) -> SimilarService | None:
    """EuclidesDB's API, where the operator wants it."""
    if config.euclides_collection is None:
        return None
    shutdown = end.set if config.euclides_shutdown else None
    return SimilarService(database, config.euclides_collection, shutdown)


@contextmanager
def _metrics(config: Config, database: Database) -> Iterator[MetricsInterceptor]:
    """Serve metrics over HTTP, until the block ends."""
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(database))
    try:
        http, thread = start_http_server(config.metrics_port or 0, config.address, registry)
    except OSError as error:
        message = f"metrics_port: cannot listen on {config.metrics_port}: {error.strerror}"
        raise FailedPreconditionError(message) from None
    log.info("metrics on http://%s:%d/metrics", config.address, http.server_port)
    try:
        yield MetricsInterceptor(registry)
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _check_exposure(config: Config, keys: KeyFile) -> None:
    """Callers from other machines have to show who they are, unless the operator says otherwise.

    Raises:
        FailedPreconditionError: anybody could call.
    """
    if config.is_local or config.allow_anonymous:
        return
    if config.tls_client_ca is None and not keys:
        raise FailedPreconditionError(
            f"{config.address} can be reached from other machines, and callers need neither key nor "
            f"certificate. Make a key (embeddb-server keys add NAME --data {config.data}), or set "
            f"tls_client_ca, or say --allow-anonymous if the network alone decides who calls"
        )
    if config.tls_certificate is None:
        log.warning("API keys travel in clear: set tls_certificate and tls_key, or have a proxy do TLS")


def _credentials(config: Config) -> grpc.ServerCredentials | None:
    """For TLS, and mutual TLS where there is a CA for callers; None without a certificate."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    authority = config.tls_client_ca
    return grpc.ssl_server_credentials(
        [(config.tls_key.read_bytes(), config.tls_certificate.read_bytes())],
        root_certificates=None if authority is None else authority.read_bytes(),
        require_client_auth=authority is not None,
    )


def show_config(arguments: Sequence[str]) -> None:
    """Print the settings that `serve` would run with, as TOML."""
    print(to_toml(load(arguments)))


COMMANDS = {
    "serve": serve,
    "config": show_config,
    "keys": maintenance.keys,
    "verify": maintenance.verify,
    "backup": maintenance.backup,
    "restore": maintenance.restore,
}

if __name__ == "__main__":
    sys.exit(main())
