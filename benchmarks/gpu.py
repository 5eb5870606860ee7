"""Models and FAISS on a GPU.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --device cpu --images 4 --vectors 1000    # that it runs, where there is none

A ViT-B/32 in bfloat16, bare and behind its queue, beside what one large matrix product reaches on the card;
then FAISS's flat index, IVF-PQ (ten times as many candidates, scored again) and CAGRA where the build of
FAISS has it; then embeddb's own indexes, each beside FAISS's on the same card. Without a GPU it says so.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import clock
import faiss
import faiss.contrib.torch_utils
import machine
import numpy as np
import report
import torch
from clusters import CLUSTERS, INTRINSIC, recall
from photos import write_photos
from PIL import Image as PilImage
from torch.utils.flop_counter import FlopCounterMode

import embeddb
from embeddb.batching import Priority, QueueFigures
from embeddb.database import Database
from embeddb.deadline import NEVER
from embeddb.index import IndexPolicy, SpaceIndex, find_gpu
from embeddb.models import Registry
from embeddb.query import Image, Modality, Precision, PutItem, RunOptions
from embeddb.settings import ModelSettings
from embeddb_client import Client
from embeddb_server import Server

SPEC = {"loader": "open_clip", "architecture": "ViT-B-32", "seed": 0}
BATCHES = (1, 4, 16, 64, 256, 1024)
CALLERS = 64
DIMENSION = 512
K = 10
QUERIES = 1024
RECALL = 0.95
MORE = 10  # Times as many candidates as hits, where codes are scored again.
PIECE = 250_000
BATCH = 64
SERVED = 100_000

Figures = Iterator[tuple[str, float]]
"""Names and values."""


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def per_second(work: Callable[[], object], amount: float, seconds: float, device: str) -> float:
    """How much of what `work` does `amount` of is done a second."""
    work()
    synchronize(device)
    times, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        work()
        synchronize(device)
        times += 1
    return times * amount / (time.perf_counter() - start)


def embedding(device: str, largest: int, seconds: float) -> Figures:
    """The bare network at each batch, its queue, and the card's limit."""
    options = RunOptions(device=device, precision=Precision.BFLOAT16)
    registry = Registry(ModelSettings(max_batch=largest))
    registry.register("model", SPEC, options)
    model = registry.get("model")
    prepared = [model._runner.prepare(PilImage.new("RGB", (640, 480))) for _ in range(min(largest, CALLERS))]
    with FlopCounterMode(display=False) as counter:
        model._runner.forward(Modality.IMAGE, prepared[:1])
    operations = counter.get_total_flops()
    best = 0.0
    for batch in (each for each in BATCHES if each <= largest):
        images = [prepared[n % len(prepared)] for n in range(batch)]

        def forward(images: list[Any] = images) -> object:
            return model._runner.forward(Modality.IMAGE, images).features.float().cpu()

        rate = per_second(forward, batch, seconds, device)
        yield f"bare, batches of {batch}, images/s", rate
        best = max(best, rate)
    model._runner.prepare = lambda content: content  # type: ignore[method-assign]
    end = time.perf_counter() + seconds

    def call(image: Any) -> int:
        calls = 0
        while time.perf_counter() < end:
            model.submit(image, Modality.IMAGE, Priority.QUERY, NEVER).result()
            calls += 1
        return calls

    with ThreadPoolExecutor(len(prepared)) as callers:
        yield (
            f"through the queue, {len(prepared)} callers, images/s",
            sum(callers.map(call, prepared)) / seconds,
        )
    registry.close()
    side = 8192 if device != "cpu" else 512
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    limit = per_second(lambda: matrix @ matrix, 2 * side**3, seconds, device)
    yield "one matrix product in bfloat16, Tflop/s", limit / 1e12
    yield "the best batch, of that", best * operations / limit


def service(device: str, seconds: float) -> Figures:
    """A lone photograph over gRPC, and the part of it that is the model's."""
    with tempfile.TemporaryDirectory() as temporary, embeddb.open(Path(temporary, "data")) as database:
        write_photos(Path(temporary), 1)
        image = Image((Path(temporary) / "0000.jpg").read_bytes())
        database.register_model("model", SPEC, RunOptions(device=device, precision=Precision.BFLOAT16))
        server = Server(database)
        server.start()
        with Client(server.address) as client:
            client.embed_many("model", [image])
            before, calls, start = _queue(database), 0, time.perf_counter()
            while time.perf_counter() < start + seconds:
                client.embed_many("model", [image])
                calls += 1
            taken = time.perf_counter() - start
            busy = _queue(database).busy_seconds - before.busy_seconds
        server.stop()
    yield "Embed over gRPC, one photograph, mean, ms", 1e3 * taken / calls
    yield "of that, the model", busy / taken


def _queue(database: Database) -> QueueFigures:
    (figures,) = (each for name, each in database.queues().items() if name.endswith(Modality.IMAGE))
    return figures


def make_vectors(count: int, device: str, seed: int) -> torch.Tensor:
    """Unit vectors (count, DIMENSION) float32 as `clusters.make_data` makes them, drawn on the device."""
    shape = torch.Generator(device).manual_seed(0)
    basis = torch.randn(INTRINSIC, DIMENSION, device=device, generator=shape)
    centres = torch.randn(CLUSTERS, INTRINSIC, device=device, generator=shape)
    own = torch.Generator(device).manual_seed(seed)
    vectors = torch.empty(count, DIMENSION, device=device)
    for start in range(0, count, PIECE):
        piece = vectors[start : start + PIECE]
        inside = centres[torch.randint(CLUSTERS, (len(piece),), device=device, generator=own)]
        inside = inside + torch.randn(len(piece), INTRINSIC, device=device, generator=own)
        noise = torch.randn(len(piece), DIMENSION, device=device, generator=own)
        piece[:] = torch.nn.functional.normalize(inside @ basis + noise)
    return vectors


Search = Callable[[torch.Tensor], torch.Tensor]
"""Queries (n, DIMENSION) to the rows of the nearest (n, K)."""


def on_device(index: faiss.Index, device: str) -> faiss.Index:
    """The same index on the card."""
    if device == "cpu":
        return index
    options = faiss.GpuClonerOptions()
    # Of a product quantizer, the tables of distances: a card has 48 KiB for those of a query, and 64 bytes a
    # vector would take 64 in float32. What is flat stays in float32.
    options.useFloat16 = not isinstance(index, faiss.IndexFlat)
    number = torch.device(device).index or 0
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, index, options)


def flat(vectors: torch.Tensor, device: str) -> Iterator[Search]:
    index = on_device(faiss.IndexFlatIP(DIMENSION), device)
    index.add(vectors)
    yield lambda queries: index.search(queries, K)[1]


def ivf_pq(vectors: torch.Tensor, device: str) -> Iterator[Search]:
    """Searches with ever more lists probed."""
    lists = 4 * round(len(vectors) ** 0.5)
    index = on_device(faiss.index_factory(DIMENSION, f"IVF{lists},PQ64", faiss.METRIC_INNER_PRODUCT), device)
    index.train(vectors[torch.randperm(len(vectors), device=device)[: 64 * lists]])
    for start in range(0, len(vectors), PIECE):
        index.add(vectors[start : start + PIECE])

    def search(queries: torch.Tensor) -> torch.Tensor:
        rows = index.search(queries, K * MORE)[1]
        scores = torch.einsum("nd,nkd->nk", queries, vectors[rows.clamp(min=0)])
        scores[rows < 0] = -torch.inf
        return rows.gather(1, scores.topk(K).indices)

    for probed in (8, 16, 32, 64, 128, 256):
        index.nprobe = min(probed, lists)
        yield search


def cagra(vectors: torch.Tensor, _: str) -> Iterator[Search]:
    resources = faiss.StandardGpuResources()
    index = faiss.GpuIndexCagra(resources, DIMENSION, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    yield lambda queries: index.search(queries, K)[1]


INDEXES = {"flat": flat, "IVF-PQ": ivf_pq, "CAGRA": cagra}


def searching(name: str, vectors: torch.Tensor, seconds: float, device: str) -> Figures:
    """One index over the vectors: what it takes to make, what it finds, and how fast."""
    queries = make_vectors(QUERIES, device, seed=1)
    truth = exact(vectors, queries)
    start = time.perf_counter()
    # Of the ways to search, the first that finds enough; the last, if none does.
    for search in INDEXES[name](vectors, device):
        if start is not None:
            synchronize(device)
            yield f"{name}: build, s", time.perf_counter() - start
            start = None
        share = recall(search(queries).cpu().numpy().tolist(), truth.cpu().numpy())
        if share >= RECALL:
            break
    yield f"{name}: recall@10", share

    def lone(number: int) -> int:
        return len(search(queries[number % QUERIES][None]).cpu())

    yield f"{name}: one query, p50, ms", clock.waits(lone, seconds)[0]
    rate = per_second(lambda: search(queries), QUERIES, seconds, device)
    yield f"{name}: batches of {QUERIES}, queries/s", rate


def beside(vectors: torch.Tensor, device: str) -> Figures:
    """embeddb's own indexes on the card beside FAISS's: exact, and IVF with as many lists probed."""
    queries = make_vectors(QUERIES, device, seed=1).cpu().numpy()
    truth = exact(vectors, torch.from_numpy(queries).to(device)).cpu().numpy()
    lists = 4 * round(len(vectors) ** 0.5)
    for name, factory in (("exact", "Flat"), ("IVF", f"IVF{lists},SQ4")):
        index = SpaceIndex(DIMENSION, policy=IndexPolicy(factory), gpu=find_gpu(device))
        start = time.perf_counter()
        index.fill(OnCard(vectors), len(vectors), sequence=0)
        index.settle()
        yield f"embeddb, {name}: build, s", time.perf_counter() - start
        print(repr(index), flush=True)
        yield f"embeddb, {name}: recall@10", recall(index.search(queries, K)[1].tolist(), truth)
        search = alone(index, vectors, device)
        for many in (1, BATCH):
            asked = np.split(queries, QUERIES // many)
            bare, own = clock.in_turns_ms(asking(search, asked), asking(index.search, asked))
            yield f"embeddb, {name}: FAISS alone, {many} at once, ms", bare
            yield f"embeddb, {name}: {many} at once, ms", own
            yield f"embeddb, {name}: {many} at once, times FAISS alone", own / bare
        index.close()


def asking(search: Callable[..., object], asked: Sequence[Any]) -> Callable[[int], object]:
    """Asks for one of these each time."""
    return lambda number: search(asked[number % len(asked)], K)


class OnCard:
    """Vectors as storage gives them to an index; the number of each is its row."""

    def __init__(self, vectors: torch.Tensor) -> None:
        self._vectors = vectors

    def are_dead(self, rows: Any) -> Any:
        return np.zeros(len(rows), np.bool_)

    def scan(self, after: int = -1) -> Iterator[tuple[Any, Any]]:
        for start in range(after + 1, len(self._vectors), PIECE // 10):
            piece = self._vectors[start : start + PIECE // 10].cpu().numpy()
            yield np.arange(start, start + len(piece)), piece

    def read(self, rows: Any) -> dict[int, Any]:
        return dict(zip(rows.tolist(), self._vectors[torch.from_numpy(rows)].cpu().numpy(), strict=True))


def alone(index: SpaceIndex, vectors: torch.Tensor, device: str) -> Callable[..., object]:
    """FAISS's own search of the same vectors, or of the same approximate index, on the card."""
    approximate = index._contents.state.approximate
    if approximate is None:
        there = on_device(faiss.IndexFlatIP(DIMENSION), device)
        there.add(vectors)
    else:
        there = on_device(approximate.index, device)
        there.nprobe = approximate.tuned.least(RECALL).effort
    return there.search


def search_service(device: str, count: int) -> Figures:
    """A lone search over gRPC, and the part of it that is the collection's."""
    vectors = make_vectors(count, device, seed=0).cpu().numpy()
    queries = make_vectors(QUERIES, device, seed=1).cpu().numpy()
    with (
        tempfile.TemporaryDirectory() as temporary,
        embeddb.open(temporary, index_device=device) as database,
    ):
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        own = database.create_collection("vectors", ["given"])
        own.put_many(PutItem(str(n), features={"given": each}) for n, each in enumerate(vectors))
        own.settle()
        print(database.stats().spaces["vectors"][0].index, flush=True)
        server = Server(database)
        server.start()
        with Client(server.address) as client:
            served = client.collection("vectors")
            inside, over = clock.in_turns_ms(
                lambda n: own.search(queries[n % QUERIES], k=K),
                lambda n: served.search(queries[n % QUERIES], k=K),
            )
        server.stop()
    yield f"Search of {count:,} over gRPC, one vector, p50, ms", over
    yield "of that, in process", inside / over


def exact(vectors: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """The rows of the true nearest (n, K), by products in float32."""
    scores, rows = [], []
    for start in range(0, len(vectors), PIECE):
        best = (queries @ vectors[start : start + PIECE].T).topk(K)
        scores.append(best.values)
        rows.append(best.indices + start)
    order = torch.cat(scores, 1).topk(K).indices
    return torch.cat(rows, 1).gather(1, order)


def shown(figures: Figures) -> dict[str, float]:
    """The figures, each printed as it comes."""
    taken = {}
    for name, value in figures:
        print(f"{name:60} {value:12,.3f}", flush=True)
        taken[name] = value
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=max(BATCHES), help="in the largest batch")
    parser.add_argument("--vectors", type=int, action="append", help="these many; 10^6 and 10^7 if not given")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    report.add_options(parser)
    options = parser.parse_args()
    device, seconds = options.device, options.seconds
    if device != "cpu" and not torch.cuda.is_available():
        print("no GPU here: nothing was measured")
        return
    where = machine.describe()
    results: report.Results = {"ViT-B/32, bfloat16": shown(embedding(device, options.images, seconds))}
    results["ViT-B/32, bfloat16"] |= shown(service(device, seconds))
    names = [name for name in INDEXES if name != "CAGRA" or hasattr(faiss, "GpuIndexCagra")]
    counts = options.vectors or [1_000_000, 10_000_000]
    results["over gRPC"] = shown(search_service(device, min(SERVED, *counts)))
    for count in counts:
        vectors = make_vectors(count, device, seed=0)
        figures = results.setdefault(f"{count:,} vectors", {})
        for name in names:
            figures |= shown(searching(name, vectors, seconds, device))
        figures |= shown(beside(vectors, device))
    card = device if device == "cpu" else torch.cuda.get_device_name(device)
    about = {"device": card, "dimension": DIMENSION, "seconds": seconds, "embeddb": embeddb.__version__}
    report.finish(options, where, about | {"torch": torch.__version__, "faiss": faiss.__version__}, results)


if __name__ == "__main__":
    main()
