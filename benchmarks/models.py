"""How fast models run behind the queue, against the bare network in its best batches.

    python benchmarks/models.py --architecture vit_base_patch32_224 --json models.json

Images are prepared beforehand, so that what is measured is the queue and the network: 32 callers with one
image each, a lone call, and the network alone at every batch size. The rounds of these are interleaved and
the median of each is taken, since other work on the machine comes and goes. At the end the whole way from
JPEG bytes to features, decoding included.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import machine
import numpy as np
import report
import torch
from PIL import Image as PilImage

import embeddb
from embeddb.batching import Priority
from embeddb.deadline import NEVER
from embeddb.models import EmbedRequest, Registry
from embeddb.models.model import Model
from embeddb.query import Image, Modality, Precision, RunOptions
from embeddb.settings import ModelSettings

BATCHES = (1, 2, 4, 8, 16, 32)
CALLERS = 32
QUEUED = f"through the queue, {CALLERS} callers"


@dataclass(frozen=True)
class Rate:
    """Images a second, and a second of processor time, of which other programs take no part."""

    wall: float
    processor: float


def rate(work: Callable[[], int], seconds: float) -> Rate:
    """How fast `work` is; it says how many images it has done each time."""
    done, start, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        done += work()
    return Rate(done / (time.perf_counter() - start), done / (time.process_time() - processor))


def bare(model: Model, prepared: Sequence[Any], batch: int, seconds: float) -> Rate:
    """The network alone."""

    def run() -> int:
        model._runner.forward(Modality.IMAGE, prepared[:batch]).features.float().cpu().numpy()
        return batch

    return rate(run, seconds)


def lone_call(model: Model, prepared: Any, seconds: float) -> tuple[float, float]:
    """The medians of calls of the bare network and through the queue, one image each, in turn, in ms."""
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        model._runner.forward(Modality.IMAGE, [prepared]).features.float().cpu().numpy()
        middle = time.perf_counter()
        model.submit(prepared, Modality.IMAGE, Priority.QUERY, NEVER).result()
        times[0].append(1e3 * (middle - start))
        times[1].append(1e3 * (time.perf_counter() - middle))
    return statistics.median(times[0]), statistics.median(times[1])


def through_the_queue(model: Model, prepared: Sequence[Any], seconds: float) -> Rate:
    """As many callers as there are images, each of whom waits for one image at a time."""
    end = time.perf_counter() + seconds

    def call(image: Any) -> int:
        calls = 0
        while time.perf_counter() < end:
            model.submit(image, Modality.IMAGE, Priority.QUERY, NEVER).result()
            calls += 1
        return calls

    with ThreadPoolExecutor(len(prepared)) as callers:
        return rate(lambda: sum(callers.map(call, prepared)), seconds)


def from_bytes(registry: Registry, data: bytes, seconds: float) -> Rate:
    """From JPEG bytes to features, in loads of 64."""
    requests = [EmbedRequest(Image(data), ["model"])] * 64
    return rate(lambda: len(registry.embed(requests, Priority.BULK)), seconds)


def jpeg(width: int = 640, height: int = 480) -> bytes:
    """A picture of soft blots with grain, as a photograph has it."""
    random = np.random.default_rng(0)
    blots = PilImage.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(blots.resize((width, height), PilImage.Resampling.BICUBIC), np.int16)
    grain = random.integers(-8, 9, pixels.shape)
    buffer = io.BytesIO()
    PilImage.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def measure(registry: Registry, options: argparse.Namespace) -> tuple[dict[str, Rate], tuple[float, float]]:
    """The rates by name, and what a lone image takes bare and through the queue, in ms."""
    model = registry.get("model")
    data = jpeg()
    with PilImage.open(io.BytesIO(data)) as image:
        prepared = [model._runner.prepare(image)] * CALLERS
    # From here on what is submitted is prepared already.
    prepare, model._runner.prepare = model._runner.prepare, lambda content: content  # type: ignore[method-assign]
    rounds: dict[str, list[Rate]] = defaultdict(list)
    lone: list[tuple[float, float]] = []
    for _ in range(options.rounds):
        for batch in BATCHES:
            rounds[f"bare, batches of {batch}"].append(bare(model, prepared, batch, options.seconds))
        rounds[QUEUED].append(through_the_queue(model, prepared, options.seconds))
        lone.append(lone_call(model, prepared[0], options.seconds))
    model._runner.prepare = prepare  # type: ignore[method-assign]
    rounds["from JPEG bytes, loads of 64"] = [from_bytes(registry, data, 2 * options.seconds)]
    rates = {
        name: Rate(statistics.median(r.wall for r in found), statistics.median(r.processor for r in found))
        for name, found in rounds.items()
    }
    return rates, (statistics.median(b for b, _ in lone), statistics.median(q for _, q in lone))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--architecture", default="vit_base_patch32_224", help="a timm model; weights are random"
    )
    parser.add_argument("--precision", type=Precision, default=Precision.AUTO)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement in a round")
    parser.add_argument("--rounds", type=int, default=3)
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    registry = Registry(ModelSettings())
    spec = {"loader": "timm", "architecture": options.architecture, "seed": 0}
    info = registry.register("model", spec, RunOptions(precision=options.precision))
    rates, lone = measure(registry, options)
    registry.close()
    assert info.running is not None
    results = {
        "wall clock": {f"{name}, images/s": found.wall for name, found in rates.items()},
        "processor time": {f"{name}, images/s": found.processor for name, found in rates.items()},
    }
    results["wall clock"] |= {
        "a lone image, bare, ms": lone[0],
        "a lone image, through the queue, ms": lone[1],
    }
    about = {
        "architecture": options.architecture,
        "device": info.running.device,
        "precision": info.running.precision,
        "threads": torch.get_num_threads(),
        "embeddb": embeddb.__version__,
        "torch": torch.__version__,
    }
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
