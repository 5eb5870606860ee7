"""End to end: a folder of pictures becomes a collection that can be searched, over gRPC.

    python benchmarks/end_to_end.py --images 10000 --json end_to_end.json

Half of the pictures are Fashion-MNIST as PNG (Debian's package dataset-fashion-mnist), half photographs of
640 x 480, cropped at random. The model has random weights, which take as long as others. The server tells
how much of the processors' time each of its stages took. How long the model worked is told in two ways: how
long it was busy, while decoding took cores from it; and how long it would have taken alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import report
import torch
from pictures import write_pictures
from PIL import Image as PilImage

import embeddb
from embeddb.models import Registry
from embeddb.query import Image, Item, Modality, PutItem, RunOptions
from embeddb.settings import ModelSettings
from embeddb_client import Client

HERE = Path(__file__).parent
SPECS = {
    "ViT-B/32": {"loader": "open_clip", "architecture": "ViT-B-32", "seed": 0},
    "ResNet-50": {"loader": "timm", "architecture": "resnet50", "seed": 0},
}
BATCH = 32


def load(pictures: Path, folder: Path, spec: dict[str, Any]) -> tuple[dict[str, float], str]:
    """Put every picture; the figures, and how the model ran."""
    command = [sys.executable, str(HERE / "watched_server.py"), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        with Client(server.stdout.readline().strip(), timeout=3600) as client:
            running = client.register_model("model", spec).running
            collection = client.create_collection("pictures", ["model"])
            files = sorted(pictures.iterdir())
            print("start", file=server.stdin, flush=True)
            server.stdout.readline()
            start, processor = time.perf_counter(), time.process_time()
            results = collection.put_many(PutItem(file.stem, Image(file)) for file in files)
            hits = collection.search(Item(files[0].stem))
            seconds = time.perf_counter() - start
            processor = time.process_time() - processor
            failed = [result.error for result in results if result.error is not None]
            if failed or not hits:
                sys.exit(f"end_to_end: {failed[:3] or 'nothing was found'}")
            print("stop", file=server.stdin, flush=True)
            told = json.loads(server.stdout.readline())
    stages = told["stages"] | {"client": processor}
    used = sum(stages.values())
    figures = {
        "from the folder to the first search, s": seconds,
        "images/s": len(files) / seconds,
        "of the cores' time, in use": used / seconds / (os.cpu_count() or 1),
        "of the time, model busy": told["model busy"] / seconds,
    }
    figures |= {f"of the processor time: {stage}": stages[stage] / used for stage in sorted(stages)}
    assert running is not None
    return figures, f"{running.precision} on {running.device}"


def alone(spec: dict[str, Any], seconds: float) -> float:
    """Images a second of the bare model, in batches that are prepared already, as the server runs it."""
    registry = Registry(ModelSettings())
    registry.register("model", spec, RunOptions())
    runner = registry.get("model")._runner
    prepared = [runner.prepare(PilImage.new("RGB", (640, 480)))] * BATCH
    runner.forward(Modality.IMAGE, prepared)
    done, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        runner.forward(Modality.IMAGE, prepared)
        done += BATCH
    taken = time.perf_counter() - start
    registry.close()
    return done / taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", choices=SPECS, default="ViT-B/32")
    parser.add_argument("--seconds", type=float, default=10, help="of the bare model's measurement")
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    with tempfile.TemporaryDirectory() as temporary:
        pictures, folder = Path(temporary, "pictures"), Path(temporary, "data")
        pictures.mkdir()
        write_pictures(pictures, options.images)
        figures, running = load(pictures, folder, SPECS[options.model])
    rate = alone(SPECS[options.model], options.seconds)
    figures["bare model alone, images/s"] = rate
    figures["of the time, what the bare model alone would take"] = figures["images/s"] / rate
    about = {"images": options.images, "model": options.model, "runs in": running}
    about |= {each.__name__: each.__version__ for each in (embeddb, torch)}
    report.finish(options, where, about, {options.model: figures})


if __name__ == "__main__":
    main()
