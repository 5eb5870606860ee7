"""OpenTelemetry traces, by its own instrumentation of gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc.aio

from embeddb.errors import FailedPreconditionError

__all__ = ["tracing"]


@contextmanager
def tracing() -> Iterator[grpc.aio.ServerInterceptor]:
    """An interceptor that makes a span of every call; the variables OTEL_* say where spans go.

    Raises:
        FailedPreconditionError: the extra `tracing` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.grpc import aio_server_interceptor
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        message = f"tracing: {error.name} is missing: pip install 'embeddb-server[tracing]'"
        raise FailedPreconditionError(message) from None
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before this.
    provider = TracerProvider(resource=Resource({SERVICE_NAME: "embeddb"}).merge(Resource.create()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield aio_server_interceptor(tracer_provider=provider)  # type: ignore[no-untyped-call]
    finally:
        provider.shutdown()
