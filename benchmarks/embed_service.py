"""Embedding as a service: JPEG photographs in, features out, beside the loops that people write by hand.

    python benchmarks/embed_service.py --json embed_service.json

The models have random weights, which take as long as others. The loops of `loops.py` have a process of their
own, as is the server, which is called over gRPC. All figures are images a second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import clock
import machine
import open_clip
import report
import timm
import torch
from contenders.of_embeddb import serve
from photos import write_photos

import embeddb
from embeddb.errors import EmbeddbError
from embeddb.query import Image, PutItem
from embeddb_client import Client

HERE = Path(__file__).parent
SPECS = {
    "ViT-B/32": {"loader": "open_clip", "architecture": "ViT-B-32", "seed": 0},
    "ResNet-50": {"loader": "timm", "architecture": "resnet50", "seed": 0},
}
PHOTOS = 128
CLIENTS = 32


def hand_written(model: str, photos: Path, seconds: float) -> dict[str, float]:
    """Images a second of each loop."""
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, HERE / "loops.py", model, "--photos", photos, "--json", file.name]
        subprocess.run([*command, "--seconds", str(seconds)], check=True)
        return json.loads(Path(file.name).read_text())


def service(model: str, photos: Path, seconds: float) -> Iterator[tuple[str, str, float]]:
    """Images a second over gRPC: the call, how it was made, and the figure."""
    images = [Image(file.read_bytes()) for file in sorted(photos.iterdir())]
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder)) as (_, address),
        Client(address) as client,
    ):
        client.register_model("model", SPECS[model])
        numbers = itertools.count()

        def embed(client: Client, count: int) -> clock.Work:
            def work(number: int) -> int:
                wanted = [images[(number + n) % len(images)] for n in range(count)]
                return _all_done(client.embed_many("model", wanted))

            return work

        def put(client: Client, count: int) -> clock.Work:
            collection = client.collection("put")

            def work(number: int) -> int:
                # Ids are new each time: content that is stored already would not be embedded again.
                wanted = [
                    PutItem(str(next(numbers)), images[(number + n) % len(images)]) for n in range(count)
                ]
                return _all_done([result.error for result in collection.put_many(wanted)])

            return work

        client.create_collection("put", ["model"])
        clients = [Client(address) for _ in range(CLIENTS)]
        for call, work in (("Embed", embed), ("Put", put)):
            yield call, "one by one", clock.rate([work(client, 1)], seconds)
            yield call, f"one by one, {CLIENTS} clients", clock.rate([work(c, 1) for c in clients], seconds)
            yield call, f"{PHOTOS} at once", clock.rate([work(client, PHOTOS)], seconds)
        for each in clients:
            each.close()


def _all_done(outcomes: list[object]) -> int:
    for outcome in outcomes:
        if isinstance(outcome, EmbeddbError):
            raise outcome
    return len(outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", choices=SPECS, help="these models; all if not given")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    results: report.Results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), PHOTOS)
        for model in options.model or SPECS:
            print(model, flush=True)
            for loop, figure in hand_written(model, Path(folder), options.seconds).items():
                results.setdefault(model, {})[f"by hand: {loop}"] = figure
            for call, way, figure in service(model, Path(folder), options.seconds):
                results[model][f"{call}, {way}"] = figure
    print("\nimages/s\n")
    versions = {each.__name__: each.__version__ for each in (embeddb, torch, open_clip, timm)}
    report.finish(options, where, {"photos": PHOTOS, "seconds": options.seconds} | versions, results)


if __name__ == "__main__":
    main()
