"""Embedding as a service: JPEG photographs in, features out, beside the loops that people write by hand.

    python benchmarks/embed_service.py --json embed_service.json

The models have random weights, which take as long as others. The loops of `loops.py` have a process of their
own, as has the server, which is called over gRPC. All that run a model are started first, and then asked in
turns, round after round, while the others are idle. What is shown are the medians of the rounds; the last
figures say how many times the loops' rate the service's is, within each round. With `--compiled` there is a
second server, told that it may compile the model, beside the same loops.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import clock
import infinity
import machine
import numpy as np
import open_clip
import report
import timm
import torch
from contenders.of_embeddb import serve
from environments import DEFAULT, environment, pins
from orders import process
from photos import write_photos
from turns import Turn, in_turns, medians, times

import embeddb
from embeddb.errors import EmbeddbError
from embeddb.query import Image, PutItem, RunOptions
from embeddb_client import Client

SPECS = {
    "ViT-B/32": {"loader": "open_clip", "architecture": "ViT-B-32", "seed": 0},
    "ResNet-50": {"loader": "timm", "architecture": "resnet50", "seed": 0},
}
OF_INFINITY = "ViT-B/32"  # It serves models of transformers that know images and texts.
PHOTOS = 128
CLIENTS = 32
TIMEOUT = 600.0
"""Of a call, in seconds: many images at once may take long where a machine is slow."""
BY_HAND = "by hand: "
NAIVE = f"{BY_HAND}naive, float32, images/s"

Embed = Callable[[Sequence[bytes]], Sequence[object]]


class Called(NamedTuple):
    """How a service is called in a round; each is a turn of its own."""

    one_by_one: Turn
    clients: Turn
    at_once: Turn


class Started(NamedTuple):
    """What runs, and is asked in turns."""

    pid: int
    calls: Sequence[Called]


def called(column: str, name: str, callers: Sequence[Embed], images: Sequence[bytes]) -> Called:
    """One caller with an image at a time, all of them, and one with many images at once."""
    wanted = [images[number % len(images)] for number in range(2 * len(images))]

    def work(embed: Embed, count: int) -> clock.Work:
        return lambda number: len(embed(wanted[number % len(images) :][:count]))

    def turn(question: str, callers: Sequence[Embed], count: int) -> Turn:
        works, figure = [work(caller, count) for caller in callers], f"{name}, {question}, images/s"
        # Many at once warm up by themselves.
        warm_up = count == 1
        return Turn(column, lambda seconds: {figure: clock.rate(works, seconds, warm_up=warm_up)})

    return Called(
        turn("one by one", callers[:1], 1),
        turn(f"one by one, {len(callers)} clients", callers, 1),
        turn(f"{len(images)} at once", callers[:1], len(images)),
    )


@contextlib.contextmanager
def loops(model: str, photos: Path) -> Iterator[list[Turn]]:
    """Each loop written by hand."""
    command = [sys.executable, "loops.py", model, "--photos", photos]

    def measure(loop: str, seconds: float) -> Mapping[str, float]:
        return {f"{BY_HAND}{loop}, images/s": order("rate", loop, seconds)}

    with process("loops.py", command) as order:
        yield [Turn(model, partial(measure, loop)) for loop in order("names")]


@contextlib.contextmanager
def of_embeddb(
    column: str, spec: Mapping[str, object], options: RunOptions, images: Sequence[bytes]
) -> Iterator[tuple[Started, float]]:
    """Embed and Put over gRPC, and the seconds of the model's registration."""
    with ExitStack() as running:
        folder = running.enter_context(tempfile.TemporaryDirectory())
        pid, address = running.enter_context(serve(Path(folder)))
        clients = [running.enter_context(Client(address, timeout=TIMEOUT)) for _ in range(CLIENTS)]
        started = time.perf_counter()
        clients[0].register_model("model", spec, options)
        registration = time.perf_counter() - started
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

        calls = [
            called(column, name, [caller(client) for client in clients], images)
            for name, caller in (("Embed", embed), ("Put", put))
        ]
        yield Started(pid, calls), registration


@contextlib.contextmanager
def of_infinity(column: str, python: Path, images: Sequence[bytes]) -> Iterator[Started]:
    """Infinity over HTTP."""
    with ExitStack() as running:
        folder = running.enter_context(tempfile.TemporaryDirectory())
        pid, port = running.enter_context(infinity.serve(python, Path(folder)))
        clients = [infinity.Client(port) for _ in range(CLIENTS)]
        for client in clients:
            running.callback(client.close)
        yield Started(pid, [called(column, "Infinity", [client.embed for client in clients], images)])


def measured(
    model: str, ways: Mapping[str, RunOptions], peer: Path | None, photos: Path, rounds: int, seconds: float
) -> report.Results:
    """All that serve one model, in turns.

    Args:
        ways: how the server may run the model, by the name of the column.
        peer: Infinity's Python.
        photos: a folder of nothing else.
        seconds: of each turn.
    """
    images = [file.read_bytes() for file in sorted(photos.iterdir())]
    results: report.Results = {}
    with ExitStack() as running:
        by_hand = running.enter_context(loops(model, photos))
        started = []
        for column, options in ways.items():
            server, registration = running.enter_context(of_embeddb(column, SPECS[model], options, images))
            results[column] = {"registration, s": registration}
            started.append(server)
        if peer is not None and model == OF_INFINITY:
            started.append(running.enter_context(of_infinity(model, peer, images)))
        for each in started:
            machine.wait_until_idle(each.pid)
        one_by_one, clients, at_once = zip(*(calls for each in started for calls in each.calls), strict=True)
        # The loops stand between what they are compared with.
        found = in_turns([*one_by_one, *clients, *by_hand, *at_once], rounds, seconds)
    loops_found = {figure: rates for figure, rates in found[model].items() if figure.startswith(BY_HAND)}
    for column, figures in medians(found).items():
        by_hand_too = medians({column: loops_found})[column]
        results[column] = by_hand_too | results[column] | figures | compared(found[column], loops_found)
    return results


def compared(
    service: Mapping[str, Sequence[float]], by_hand: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """The service's best rates beside the loops', by what was measured in each round."""
    best = max(by_hand.values(), key=np.median)
    at_once, clients = f"{PHOTOS} at once", f"one by one, {CLIENTS} clients"
    rates = {
        f"{call}, {way}": service[f"{call}, {way}, images/s"]
        for call in ("Embed", "Put")
        for way in (clients, at_once)
    }
    figures = {f"{way}, times the best loop": times(rate, best) for way, rate in rates.items()}
    return figures | {
        f"{call}, {at_once}, times the naive loop": times(rates[f"{call}, {at_once}"], by_hand[NAIVE])
        for call in ("Embed", "Put")
    }


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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement in a round")
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
        for model in models:
            print(model, flush=True)
            ways = {model: RunOptions()}
            if options.compiled:
                ways[f"{model}, compiled"] = RunOptions(compile=True)
            results |= measured(model, ways, peer, photos, options.rounds, options.seconds)
    about: dict[str, object] = {"photos": PHOTOS, "rounds": options.rounds, "seconds": options.seconds}
    about |= {each.__name__: each.__version__ for each in (embeddb, torch, open_clip, timm)}
    if peer is not None:
        about["infinity-emb"] = pins(infinity.REQUIREMENTS)["infinity-emb"]
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
