"""End to end: a folder of pictures becomes a collection that can be searched, over gRPC.

    python benchmarks/end_to_end.py --images 10000 --json end_to_end.json

Half of the pictures are Fashion-MNIST as PNG (Debian's package dataset-fashion-mnist), half photographs of
640 x 480, cropped at random. The model has random weights, which take as long as others. The server tells
how much of the processors' time each of its stages took. How long the model worked is told in two ways: how
long it was busy, while decoding took cores from it; and how long it would have taken alone. For that the
pictures go in piece by piece, and before, between and after the pieces the bare model runs by itself, in a
process of its own: a piece is compared with what the bare model did right before and right after it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
import report
import torch
from orders import Orders, process
from pictures import write_pictures
from watched_server import BUSY

import embeddb
from embeddb.query import Image, Item, PutItem
from embeddb_client import Client, Collection

SPECS = {
    "ViT-B/32": {"loader": "open_clip", "architecture": "ViT-B-32", "seed": 0},
    "ResNet-50": {"loader": "timm", "architecture": "resnet50", "seed": 0},
}


class Piece(NamedTuple):
    """What a piece of the pictures took.

    Attributes:
        images: how many.
        seconds: until the last was stored.
        stages: of the processors' time in seconds, and `BUSY`.
    """

    images: int
    seconds: float
    stages: dict[str, float]


def put(collection: Collection, files: Sequence[Path], server: Orders) -> Piece:
    """Put pictures, and find one of them."""
    server("count")
    start, processor = time.perf_counter(), time.process_time()
    results = collection.put_many(PutItem(file.stem, Image(file)) for file in files)
    hits = collection.search(Item(files[0].stem))
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    if results.failed or not hits:
        sys.exit(f"end_to_end: {list(results.failed[:3]) or 'nothing was found'}")
    return Piece(len(files), seconds, server("counted") | {"client": processor})


def load(
    pieces: Sequence[Sequence[Path]], folder: Path, spec: dict[str, Any], seconds: float
) -> tuple[dict[str, float], str]:
    """Put every picture, in turns with the bare model; the figures, and how the model ran."""
    watched = [sys.executable, "watched_server.py", folder]
    bare = [sys.executable, "bare_model.py", json.dumps(spec)]
    with process("watched_server.py", watched) as server, Client(server("address"), timeout=3600) as client:
        running = client.register_model("model", spec).running
        assert running is not None
        collection = client.create_collection("pictures", ["model"])
        with process("bare_model.py", bare) as model:
            alone, done = [model("rate", seconds)], []
            for piece in pieces:
                done.append(put(collection, piece, server))
                alone.append(model("rate", seconds))
    return figures_of(done, alone), f"{running.precision} on {running.device}"


def figures_of(pieces: Sequence[Piece], alone: Sequence[float]) -> dict[str, float]:
    """The figures.

    Args:
        alone: images a second of the bare model before, between and after the pieces.
    """
    seconds = sum(piece.seconds for piece in pieces)
    stages: Counter[str] = Counter()
    for piece in pieces:
        stages.update(piece.stages)
    busy = stages.pop(BUSY)
    used = stages.total()
    figures = {
        "from the folder to the first search, s": seconds,
        "images/s": sum(piece.images for piece in pieces) / seconds,
        "of the cores' time, in use": used / seconds / (os.cpu_count() or 1),
        "of the time, model busy": busy / seconds,
    }
    figures |= {f"of the processor time: {stage}": stages[stage] / used for stage in sorted(stages)}
    beside = [(before + after) / 2 for before, after in pairwise(alone)]
    shares = [piece.images / piece.seconds / rate for piece, rate in zip(pieces, beside, strict=True)]
    return figures | {
        "bare model alone, images/s": float(np.median(alone)),
        "of the time, what the bare model alone would take": float(np.median(shares)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", choices=SPECS, default="ViT-B/32")
    parser.add_argument(
        "--pieces", type=int, default=5, help="of the pictures, between which the model runs alone"
    )
    parser.add_argument("--seconds", type=float, default=5, help="of each time that it does")
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    # As embeddb-server has it; what is started here has it too.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    with tempfile.TemporaryDirectory() as temporary:
        pictures, folder = Path(temporary, "pictures"), Path(temporary, "data")
        pictures.mkdir()
        write_pictures(pictures, options.images)
        files = sorted(pictures.iterdir())
        # Drawings and photographs take different times to decode: each piece has of both.
        random.Random(0).shuffle(files)
        pieces = [files[first :: options.pieces] for first in range(options.pieces)]
        figures, running = load(pieces, folder, SPECS[options.model], options.seconds)
    about = {name: getattr(options, name) for name in ("images", "model", "pieces", "seconds")}
    about["runs in"] = running
    about |= {each.__name__: each.__version__ for each in (embeddb, torch)}
    report.finish(options, where, about, {options.model: figures})


if __name__ == "__main__":
    main()
