"""Search as a service: embeddb-server over gRPC beside other vector stores, with FAISS as the limit.

    python benchmarks/search_service.py --vectors 100000 --json search_service.json

Every contender gets the same clustered unit vectors and looks for the ten of the greatest cosine, as hard as
it must to find 95 in 100 of the exact ten. Each runs in processes of its own, and fills its folder while the
others are idle. Then they are asked in turns, round after round, so that a noisy minute hits each of them:
what is shown are the medians of the rounds, and of what is compared round by round. Callers are threads of
one Python process, or tasks of one event loop in it where a way is called asyncio. The peers are installed
into the folder `--cache`, and nowhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import grpc
import machine
import numpy as np
import report
from clusters import make_data, nearest, write_vectors
from contenders import CONTENDERS, K
from contenders.effort import BATCH
from environments import DEFAULT, environment, pins
from orders import Orders, process
from turns import Rounds, Turn, in_turns, medians

import embeddb

PEERS = Path(__file__).parent / "peers.txt"
OWN = [name for name, entry in CONTENDERS.items() if not entry.peer]
# What each contender is asked in a round: a method of its `Measured`, and what else that takes.
QUESTIONS: tuple[tuple[str, *tuple[int, ...]], ...] = (
    ("waits",),
    ("rate", 1),
    ("rate", 8),
    ("rate", 32),
    ("batches",),
)
TIMED = 65_536
"""Queries that are asked while time is taken: so many that hardly one is asked twice."""
LIMIT, PEER = "FAISS IVF", "Chroma server"
"""Bare FAISS, in process; and the peer that is a server."""


def write_data(folder: Path, count: int, dimension: int, queries: int) -> None:
    """The vectors, the queries, the true ten nearest of each, and the queries that are timed."""
    draw = make_data(dimension, np.random.default_rng(0))
    asked = draw(queries)
    vectors = write_vectors(folder / "vectors.npy", draw, count)
    np.save(folder / "queries.npy", asked)
    np.save(folder / "timed.npy", draw(TIMED))
    np.save(folder / "truth.npy", nearest(vectors, asked, K))


def asked(column: str, order: Orders, way: str, question: Sequence[Any]) -> Turn:
    """One of `QUESTIONS` to a contender, over one way to connect to it."""
    method, *more = question

    def measure(seconds: float) -> Mapping[str, float]:
        figures: dict[str, float] = order(method, way, seconds, *more)
        return figures

    return Turn(column, measure)


def compared(measured: Rounds) -> Iterator[tuple[str, str, float]]:
    """Each contender beside bare FAISS and beside the server among the peers, where these were measured."""
    comparisons: tuple[tuple[str, str, str, Callable[..., np.ndarray]], ...] = (
        (LIMIT, "p50, ms", f"p50 above {LIMIT}, ms", np.subtract),
        (LIMIT, f"queries/s, batches of {BATCH}", f"batches of {BATCH}, times {LIMIT}", np.divide),
        (PEER, "queries/s, 8 clients", f"8 clients, times {PEER}", np.divide),
        (PEER, "queries/s, 32 clients", f"32 clients, times {PEER}", np.divide),
    )
    for other, figure, name, beside in comparisons:
        # Where there are two ways to ask it, with the one by which it gets more in a round.
        names = [who for who in (other, f"{other}, asyncio") if who in measured]
        if names:
            most = np.max([measured[who][figure] for who in names], axis=0)
            for who in measured.keys() - names:
                yield who, name, float(np.median(beside(measured[who][figure], most)))


def versions(peers: bool) -> dict[str, str]:
    """Of what is measured."""
    own = {"embeddb": embeddb.__version__, "faiss": faiss.__version__, "grpcio": grpc.__version__}
    return own | (pins(PEERS) if peers else {})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each question in a round")
    parser.add_argument(
        "--only", action="append", choices=CONTENDERS, help="these contenders; all if not given"
    )
    parser.add_argument("--own", action="store_true", help="embeddb and FAISS alone: nothing is installed")
    parser.add_argument("--cache", type=Path, default=DEFAULT, help="where the peers are installed")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; the system's temporary one")
    report.add_options(parser)
    options = parser.parse_args()
    names = options.only or (OWN if options.own else list(CONTENDERS))
    peers = environment(options.cache, PEERS) if set(names) - set(OWN) else None
    where = machine.describe()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary, contextlib.ExitStack() as running:
        # A contender runs in another folder.
        folder = Path(temporary).resolve()
        write_data(folder, options.vectors, options.dimension, options.queries)
        results: report.Results = {}
        contenders: dict[str, Orders] = {}
        ways: dict[str, tuple[Orders, str]] = {}
        for name in names:
            print(name, flush=True)
            python = peers if peers is not None and CONTENDERS[name].peer else sys.executable
            command = [python, "-m", "contenders", name, "--data", folder, "--folder", folder / name]
            order = contenders[name] = running.enter_context(process(name, command))
            results[name] = order("fill")
            found, connected = order("connect")
            results[name] |= found
            ways |= {f"{name}, {way}" if way else name: (order, way) for way in connected}
        turns = [asked(name, *way, question) for question in QUESTIONS for name, way in ways.items()]
        measured = in_turns(turns, options.rounds, options.seconds)
        for name, figures in medians(measured).items():
            results[name] = results.get(name, {}) | figures
        for name, figure, value in compared(measured):
            results[name][figure] = value
        for name, order in contenders.items():
            results[name] |= order("reopen")
    print(f"\n{options.vectors:,} vectors of {options.dimension} dimensions, cosine, top {K}\n")
    about = {
        name: getattr(options, name) for name in ("vectors", "dimension", "queries", "rounds", "seconds")
    }
    # In the order in which they were measured, each way after its contender.
    ordered = {name: results[name] for name in ways}
    report.finish(options, where, about | versions(peers is not None), ordered)


if __name__ == "__main__":
    main()
