"""Figures for Prometheus: calls as they end, and the database's own when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from embeddb.models import gpu_memory
from embeddb_server.handlers import Behaviour, Call, CallInterceptor, Method, inside

if TYPE_CHECKING:
    from embeddb.database import Database
    from embeddb.query import Stats

__all__ = ["DatabaseCollector", "MetricsInterceptor"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class MetricsInterceptor(CallInterceptor):
    """Counts calls by method and status, and how long they take; a stream counts once, when it ends.

    Calls of methods that there are not are not counted.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("embeddb_calls", "Calls that ended.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "embeddb_call_seconds", "How long calls took.", ["method"], buckets=SECONDS, registry=registry
        )
        self._running = Gauge("embeddb_calls_running", "Calls under way.", ["method"], registry=registry)

    def around(self, behaviour: Behaviour, method: Method) -> Behaviour:
        """The behaviour, counted."""
        seconds, running = self._seconds.labels(method.name), self._running.labels(method.name)
        calls = cache(partial(self._calls.labels, method.name))

        @contextmanager
        def counted(call: Call) -> Iterator[None]:
            begun = time.perf_counter()
            running.inc()
            try:
                yield
            finally:
                code = call.code() or grpc.StatusCode.OK
                calls(code.name).inc()
                seconds.observe(time.perf_counter() - begun)
                running.dec()

        return inside(counted, behaviour)


class DatabaseCollector(Collector):
    """The database's figures, read when they are asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterable[Metric]:
        """What there is, how large it is, and what the models have done."""
        stats = self._database.stats()
        yield GaugeMetricFamily("embeddb_uptime_seconds", "Since the start.", stats.uptime_seconds)
        yield GaugeMetricFamily("embeddb_disk_bytes", "The data folder.", stats.bytes_on_disk)
        items = [([each.name], each.items) for each in stats.collections]
        yield _gauge("embeddb_items", "Items.", ["collection"], items)
        spaces = [(name, space) for name, held in stats.spaces.items() for space in held]
        yield _gauge(
            "embeddb_vectors",
            "Vectors in a space.",
            ["collection", "model", "index"],
            [([name, space.model, space.index], space.vectors) for name, space in spaces],
        )
        yield _gauge(
            "embeddb_recall",
            "Recall@10 of live searches that were compared with exact search.",
            ["collection", "model"],
            [([name, space.model], space.recall) for name, space in spaces if space.recall is not None],
        )
        yield from self._models(stats)
        yield from self._storage()
        yield from self._queues()
        yield from self._text_caches()

    def _models(self, stats: Stats) -> Iterable[Metric]:
        running = [(model.name, model.running) for model in stats.models if model.running is not None]
        yield _gauge(
            "embeddb_model_bytes",
            "Weights of a model that is loaded.",
            ["model", "device", "precision"],
            [([name, how.device, how.precision], how.bytes) for name, how in running],
        )
        gpus = gpu_memory().items()
        used = [([device], memory.used_bytes) for device, memory in gpus]
        yield _gauge("embeddb_gpu_used_bytes", "Memory of a GPU that is taken.", ["device"], used)
        total = [([device], memory.total_bytes) for device, memory in gpus]
        yield _gauge("embeddb_gpu_total_bytes", "Memory of a GPU.", ["device"], total)

    def _storage(self) -> Iterable[Metric]:
        uses = self._database.storage_use().items()
        labels = ["collection"]
        files = [([name], use.file_bytes) for name, use in uses]
        yield _gauge("embeddb_lmdb_file_bytes", "A collection's file.", labels, files)
        maps = [([name], use.map_bytes) for name, use in uses]
        yield _gauge("embeddb_lmdb_map_bytes", "Address space of that file.", labels, maps)
        readers = [([name], use.readers) for name, use in uses]
        yield _gauge("embeddb_lmdb_readers", "Slots taken in its table of readers.", labels, readers)

    def _queues(self) -> Iterable[Metric]:
        labels = ["queue"]
        waiting = GaugeMetricFamily("embeddb_queue_waiting", "Inputs that wait for a model.", labels=labels)
        inputs = CounterMetricFamily("embeddb_queue_inputs", "Inputs run through a model.", labels=labels)
        batches = CounterMetricFamily("embeddb_queue_batches", "Batches they went in.", labels=labels)
        seconds = CounterMetricFamily("embeddb_queue_busy_seconds", "Time spent on them.", labels=labels)
        for name, figures in self._database.queues().items():
            waiting.add_metric([name], figures.waiting)
            inputs.add_metric([name], figures.inputs)
            batches.add_metric([name], figures.batches)
            seconds.add_metric([name], figures.busy_seconds)
        yield from (waiting, inputs, batches, seconds)

    def _text_caches(self) -> Iterable[Metric]:
        caches = self._database.text_caches().items()
        texts = [([name], figures.texts) for name, figures in caches]
        yield _gauge("embeddb_text_cache_texts", "Texts that a model keeps.", ["model"], texts)
        hits = CounterMetricFamily("embeddb_text_cache_hits", "Texts found there.", labels=["model"])
        misses = CounterMetricFamily("embeddb_text_cache_misses", "Texts not found there.", labels=["model"])
        for name, figures in caches:
            hits.add_metric([name], figures.hits)
            misses.add_metric([name], figures.misses)
        yield from (hits, misses)


def _gauge(
    name: str, meaning: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, meaning, labels=labels)
    for key, value in values:
        gauge.add_metric(key, value)
    return gauge
