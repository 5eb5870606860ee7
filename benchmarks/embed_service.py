"""Embedding as a service: JPEG photographs in, features out, beside the loops that people write by hand.

    python benchmarks/embed_service.py --json embed_service.json

The models have random weights, which take as long as others. The loops of `loops.py` have a process of their
own, as is the server, which is called over gRPC. The last figures say how many times the loops' rate the
service's is. With `--compiled` the service is measured again, told that it may compile the model, beside the
same loops.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import clock
import infinity
import machine
import open_clip
import report
import timm
import torch
from contenders.of_embeddb import serve
from environments import DEFAULT, environment, pins
from photos import write_photos

import embeddb
from embeddb.errors import EmbeddbError
from embeddb.query import Image, PutItem, RunOptions
from embeddb_client import Client

HERE = Path(__file__).parent
SPECS = {
    "ViT-B/32": {"loader": "open_clip", "architecture": "ViT-B-32", "seed": 0},
    "ResNet-50": {"loader": "timm", "architecture": "resnet50", "seed": 0},
}
OF_INFINITY = "ViT-B/32"  # It serves models of transformers that know images and texts.
PHOTOS = 128
CLIENTS = 32
TIMEOUT = 600.0
"""Of a call, in seconds: many images at once may take long where a machine is slow."""

Figures = Iterator[tuple[str, float]]
"""Names and values."""
Embed = Callable[[Sequence[bytes]], Sequence[object]]


def hand_written(model: str, photos: Path, seconds: float) -> Figures:
    """Each loop."""
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, HERE / "loops.py", model, "--photos", photos, "--json", file.name]
        subprocess.run([*command, "--seconds", str(seconds)], check=True)
        for loop, rate in json.loads(Path(file.name).read_text()).items():
            yield f"by hand: {loop}, images/s", rate


def called(name: str, callers: Sequence[Embed], images: Sequence[bytes], seconds: float) -> Figures:
    """One caller with an image at a time, all of them, and one with many images at once."""

    def work(embed: Embed, count: int) -> clock.Work:
        wanted = [images[n % len(images)] for n in range(2 * len(images))]
        return lambda number: len(embed(wanted[number % len(images) :][:count]))

    yield f"{name}, one by one, images/s", clock.rate([work(callers[0], 1)], seconds)
    yield (
        f"{name}, one by one, {len(callers)} clients, images/s",
        clock.rate([work(caller, 1) for caller in callers], seconds),
    )
    yield f"{name}, {len(images)} at once, images/s", clock.rate([work(callers[0], len(images))], seconds)


def of_embeddb(model: str, options: RunOptions, images: Sequence[bytes], seconds: float) -> Figures:
    """Registration, and Embed and Put over gRPC."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as (_, address):
        clients = [Client(address, timeout=TIMEOUT) for _ in range(CLIENTS)]
        started = time.perf_counter()
        clients[0].register_model("model", SPECS[model], options)
        yield "registration, s", time.perf_counter() - started
        clients[0].create_collection("put", ["model"])
        numbers = itertools.count()

        def embed(client: Client) -> Embed:
            return lambda wanted: _all_done(client.embed_many("model", [Image(each) for each in wanted]))

        def put(client: Client) -> Embed:
            collection = client.collection("put")

            def work(wanted: Sequence[bytes]) -> Sequence[object]:
                # Ids are new each time: content that is stored already would not be embedded again.
                items = [PutItem(str(next(numbers)), Image(each)) for each in wanted]
                return _all_done([result.error for result in collection.put_many(items)])

            return work

        yield from called("Embed", [embed(client) for client in clients], images, seconds)
        yield from called("Put", [put(client) for client in clients], images, seconds)
        for client in clients:
            client.close()


def of_infinity(python: Path, images: Sequence[bytes], seconds: float) -> Figures:
    """Infinity over HTTP."""
    with tempfile.TemporaryDirectory() as folder, infinity.serve(python, Path(folder)) as port:
        clients = [infinity.Client(port) for _ in range(CLIENTS)]
        yield from called("Infinity", [client.embed for client in clients], images, seconds)
        for client in clients:
            client.close()


def compared(figures: dict[str, float]) -> Figures:
    """The service's best rates beside the loops'."""
    loops = {name: rate for name, rate in figures.items() if name.startswith("by hand: ")}
    for call in ("Embed", "Put"):
        rate = figures[f"{call}, {PHOTOS} at once, images/s"]
        yield f"{call}, {PHOTOS} at once, times the best loop", rate / max(loops.values())
        yield (
            f"{call}, {PHOTOS} at once, times the naive loop",
            rate / loops["by hand: naive, float32, images/s"],
        )


def _all_done(outcomes: Sequence[object]) -> Sequence[object]:
    for outcome in outcomes:
        if isinstance(outcome, EmbeddbError):
            raise outcome
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", choices=SPECS, help="these models; all if not given")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--compiled", action="store_true", help="also with models that are compiled")
    parser.add_argument("--own", action="store_true", help="without Infinity: nothing is installed")
    parser.add_argument("--cache", type=Path, default=DEFAULT, help="where Infinity is installed")
    report.add_options(parser)
    options = parser.parse_args()
    models = options.model or list(SPECS)
    peer = None if options.own else environment(options.cache, infinity.REQUIREMENTS)
    where = machine.describe()
    results: report.Results = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        write_photos(photos, PHOTOS)
        images = [file.read_bytes() for file in sorted(photos.iterdir())]
        for model in models:
            print(model, flush=True)
            loops = dict(hand_written(model, photos, options.seconds))
            ways = {model: RunOptions()}
            if options.compiled:
                ways[f"{model}, compiled"] = RunOptions(compile=True)
            for name, way in ways.items():
                figures = loops | dict(of_embeddb(model, way, images, options.seconds))
                if peer is not None and name == OF_INFINITY:
                    figures |= of_infinity(peer, images, options.seconds)
                results[name] = figures | dict(compared(figures))
    about: dict[str, object] = {"photos": PHOTOS, "seconds": options.seconds}
    about |= {each.__name__: each.__version__ for each in (embeddb, torch, open_clip, timm)}
    if peer is not None:
        about["infinity-emb"] = pins(infinity.REQUIREMENTS)["infinity-emb"]
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
