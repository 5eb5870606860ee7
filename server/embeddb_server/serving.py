"""Serving a data folder, from the settings to the last call."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import grpc
from prometheus_client import CollectorRegistry, start_http_server

import embeddb
from embeddb.errors import FailedPreconditionError
from embeddb_server import logs
from embeddb_server.config import Config, load
from embeddb_server.garbage import keep_what_is_here
from embeddb_server.heaps import limit_heaps
from embeddb_server.keys import KeyFile
from embeddb_server.metrics import DatabaseCollector, MetricsInterceptor
from embeddb_server.server import Server
from embeddb_server.tracing import tracing

if TYPE_CHECKING:
    from embeddb.database import Database

__all__ = ["serve"]

log = logging.getLogger("embeddb_server")


def serve(arguments: Sequence[str]) -> None:
    """Serve a data folder until SIGTERM or SIGINT."""
    config = load(arguments)
    logs.configure(config.log_level, config.log_format)
    limit_heaps()
    end, opened = threading.Event(), threading.Event()
    _heed_signals(end, opened)
    keys = KeyFile(config.data)
    _check_exposure(config, keys)
    figures = CollectorRegistry()
    with ExitStack() as stack:
        server = _make_server(config, keys, figures, end, stack)
        # The port is taken before the data folder is touched, and probes are answered while models load.
        server.start()
        stack.callback(server.stop, 0)
        with _open(config) as database:
            opened.set()
            figures.register(DatabaseCollector(database))
            keep_what_is_here()
            server.serve(database)
            # Whoever starts the server in a script waits for this line.
            data = config.data.resolve()
            ready = f"embeddb-server {embeddb.__version__} ready on {server.address}, data in {data}"
            print(ready, flush=True)
            end.wait()
            log.info("draining")
            server.stop(config.drain_seconds)
    log.info("stopped")


def _heed_signals(end: threading.Event, opened: threading.Event) -> None:
    """Have SIGTERM and SIGINT set `end`; before `opened` is set, the first of them ends the process."""

    def stop(*_: object) -> None:
        again = end.is_set()
        end.set()
        if not opened.is_set() and not again:
            # Models may load for minutes, and there is nothing to drain yet: what is open is closed.
            raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _make_server(
    config: Config, keys: KeyFile, figures: CollectorRegistry, end: threading.Event, until: ExitStack
) -> Server:
    """The server, without a database yet; metrics are served, and spans sent, until the stack is closed."""
    has_metrics = config.metrics_port is not None
    return Server(
        None,
        config.listen,
        keys=keys,
        keys_required=config.needs_keys,
        credentials=_credentials(config),
        limits=config.limits,
        interceptors=[until.enter_context(_metrics(config, figures))] if has_metrics else [],
        tracing=until.enter_context(tracing()) if config.tracing else None,
        euclides_collection=config.euclides_collection,
        euclides_shutdown=end.set if config.euclides_shutdown else None,
    )


def _open(config: Config) -> Database:
    log.info("opening %s", config.data)
    # Not before the port is taken, for it takes FAISS with it.
    from embeddb.index import prefer_products

    prefer_products()
    return embeddb.open(
        config.data,
        models=config.model_settings,
        durability=config.durability,
        index_device=config.index_device,
    )


@contextmanager
def _metrics(config: Config, registry: CollectorRegistry) -> Iterator[MetricsInterceptor]:
    """Serve metrics over HTTP, until the block ends."""
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
    if config.needs_keys and not keys:
        raise FailedPreconditionError(
            f"{config.address} can be reached from other machines, and callers need neither key nor "
            f"certificate. Make a key (embeddb-server keys add NAME --data {config.data}), or set "
            f"tls_client_ca, or say --allow-anonymous if the network alone decides who calls"
        )
    if config.needs_keys and config.tls_certificate is None:
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
