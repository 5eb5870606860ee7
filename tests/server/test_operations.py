"""Metrics, logs and traces of a server."""

from __future__ import annotations

import json
import logging
import math
import re
import time
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from contextvars import copy_context
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client import CollectorRegistry

import embeddb
from embeddb.database import Database
from embeddb.errors import NotFoundError
from embeddb.query import CollectionSettings, RunOptions
from embeddb.storage.environment import MAX_READERS
from embeddb_client import Client, PutItem
from embeddb_protos.v1 import items_pb2, items_pb2_grpc
from embeddb_server import Server, logs
from embeddb_server.metrics import DatabaseCollector, MetricsInterceptor
from embeddb_server.tracing import tracing
from tests.server.test_server import Start, start

__all__ = ["start"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Database]:
    with embeddb.open(tmp_path) as database:
        database.register_model("tiny", {"loader": "timm", "architecture": "test_vit", "seed": 0})
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        database.collection().add_model("given")
        yield database


def test_calls_are_counted_by_method_and_status(own: Database, photo: Path) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(own))
    server = Server(own, interceptors=[MetricsInterceptor(registry)])
    server.start()
    with Client(server.address) as client:
        client.put_many([PutItem(name, features={"given": [1, 2]}) for name in "abc"])
        client.search([1.0, 0.0])
        client.embed_many("tiny", [photo] * 3)
        with pytest.raises(NotFoundError):
            client.model("nix")
    with grpc.insecure_channel(server.address) as channel:
        requests = [items_pb2.StreamPutItemsRequest()] * 2
        assert len(list(items_pb2_grpc.ItemServiceStub(channel).StreamPutItems(iter(requests)))) == 2
    server.stop(drain_seconds=5)

    def count(method: str, code: str) -> float | None:
        labels = {"method": f"/embeddb.v1.{method}", "code": code}
        return registry.get_sample_value("embeddb_calls_total", labels)

    assert count("ItemService/PutItems", "OK") == 1
    assert count("ItemService/StreamPutItems", "OK") == 1
    assert count("SearchService/Search", "OK") == 1
    assert count("ModelService/GetModel", "NOT_FOUND") == 1
    search = {"method": "/embeddb.v1.SearchService/Search"}
    assert registry.get_sample_value("embeddb_call_seconds_count", search) == 1
    assert registry.get_sample_value("embeddb_calls_running", search) == 0
    assert registry.get_sample_value("embeddb_items", {"collection": "default"}) == 3
    assert registry.get_sample_value("embeddb_queue_inputs_total", {"queue": "tiny-image"}) == 3
    assert registry.get_sample_value("embeddb_queue_waiting", {"queue": "tiny-image"}) == 0


def test_texts_that_a_model_knew_are_counted(database: Database, client: Client) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(database))

    def count(name: str) -> float:
        value = registry.get_sample_value(f"embeddb_text_cache_{name}", {"model": "starter"})
        assert value is not None
        return value

    misses, hits, texts = count("misses_total"), count("hits_total"), count("texts")
    first, *others = (client.embed("starter", "a text of this test").features for _ in range(3))
    assert all(np.array_equal(first, each) for each in others)
    assert count("misses_total") == misses + 1
    assert count("hits_total") == hits + 2
    assert count("texts") == texts + 1


def test_what_memory_and_storage_take_is_told(own: Database) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(own))
    running = own.model("tiny").running
    assert running is not None
    labels = {"model": "tiny", "device": running.device, "precision": running.precision}
    assert registry.get_sample_value("embeddb_model_bytes", labels) == running.bytes > 0

    def told(name: str) -> float:
        value = registry.get_sample_value(f"embeddb_lmdb_{name}", {"collection": "default"})
        assert value is not None
        return value

    before = told("file_bytes")
    own.collection().put_many([PutItem(f"{n}", "x" * 10_000, features={"given": [1, 2]}) for n in range(100)])
    assert told("file_bytes") >= before + 1_000_000
    assert told("map_bytes") >= told("file_bytes")
    assert 1 <= told("readers") <= MAX_READERS


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_memory_of_a_gpu_is_told(own: Database) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(own))
    own.register_model("there", {"loader": "starter"}, RunOptions(device="cuda:0"))
    running = own.model("there").running
    assert running is not None
    used = registry.get_sample_value("embeddb_gpu_used_bytes", {"device": "cuda:0"})
    total = registry.get_sample_value("embeddb_gpu_total_bytes", {"device": "cuda:0"})
    assert used is not None
    assert total is not None
    assert running.bytes < used < total


def test_the_document_has_every_metric(own: Database) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(own))
    MetricsInterceptor(registry)
    names = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in registry.collect()
    }
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert set(re.findall(r"`(embeddb_\w+)`", document)) == names


def test_the_recall_of_live_searches_is_told(own: Database) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(own))
    collection = own.create_collection("many", ["given"], CollectionSettings(index="IVF2,SQ8"))
    angles = np.linspace(0, 6, 200)
    collection.put_many(
        [PutItem(f"{a:.3f}", features={"given": [math.cos(a), math.sin(a)]}) for a in angles.tolist()]
    )
    collection.settle()
    labels = {"collection": "many", "model": "given"}
    assert registry.get_sample_value("embeddb_recall", labels) is None
    server = Server(own)
    server.start()
    with Client(server.address) as client:
        client.collection("many").search([1.0, 0.0])
        deadline = time.monotonic() + 30
        while (told := client.stats().spaces["many"][0].recall) is None:
            assert time.monotonic() < deadline
    server.stop(drain_seconds=5)
    assert 0.5 <= told <= 1
    assert registry.get_sample_value("embeddb_recall", labels) == told


def test_metrics_are_served_over_http(start: Start, tmp_path: Path, free_port: int) -> None:
    start(tmp_path, "--metrics-port", str(free_port))
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as response:
        assert 'embeddb_items{collection="default"} 0.0' in response.read().decode()


def test_a_line_of_the_log_names_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        logs.configure("info", "json")
        call = copy_context()
        call.run(logs.set_request, "mine-7")
        call.run(logging.getLogger("embeddb").warning, "careful")
        logging.getLogger("embeddb").warning("idle")
    finally:
        root.handlers = before
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["message"], first["request_id"], first["levelname"]) == ("careful", "mine-7", "WARNING")
    assert second["request_id"] == "-"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """What OpenTelemetry sends its spans to."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def Export(  # noqa: N802 - the service's name for it
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        self.names += [s.name for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


def test_every_call_leaves_a_span(own: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    collector = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, collector)
    port = collector.add_insecure_port("127.0.0.1:0")
    collector.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    with tracing() as interceptor:
        server = Server(own, tracing=interceptor)
        server.start()
        with Client(server.address) as client:
            client.stats()
        server.stop(drain_seconds=5)
    collector.stop(None)
    assert receiver.names == ["/embeddb.v1.AdminService/GetStats"]
