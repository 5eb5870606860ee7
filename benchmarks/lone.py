"""A lone caller: embeddb over gRPC, FAISS behind gRPC with nothing else, and bare FAISS, in turns.

    python benchmarks/lone.py --json lone.json

All run from the start, and are asked in rounds, so that a noisy minute hits each of them; what is shown are
the medians of the rounds. How many milliseconds one takes above FAISS is taken round by round, too. They hold
the same clustered unit vectors, and look as hard as they must to find 95 in 100 of the ten nearest.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

import clock
import faiss
import grpc
import machine
import numpy as np
import report
from contenders import Client, Contender, K, insert_all
from contenders.effort import choose_effort
from contenders.of_embeddb import Embeddb
from contenders.of_faiss import Faiss
from contenders.of_faiss_server import FaissServer
from search_service import write_data

import embeddb

LIMIT = "FAISS IVF"
LISTS = "IVF{lists},SQ8"


def connected(
    name: str, contender: Contender, folder: Path, data: Path, running: contextlib.ExitStack
) -> dict[str, Client]:
    """Fill a contender; its clients, by the names of their columns."""
    print(name, flush=True)
    vectors, queries = np.load(data / "vectors.npy", mmap_mode="r"), np.load(data / "queries.npy")
    contender.open(folder)
    contender.create(vectors.shape[1])
    insert_all(contender, vectors)
    contender.build()
    running.callback(contender.close)
    machine.wait_until_idle(contender.pid)
    choose_effort(contender, queries, np.load(data / "truth.npy"))
    clients = {}
    for way, connect in contender.clients().items():
        client = connect()
        running.callback(client.close)
        clients[f"{name}, {way}" if way else name] = client
    return clients


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each contender in a round")
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    rounds: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as running:
        data = Path(temporary)
        write_data(data, options.vectors, options.dimension, queries=512)
        queries = np.load(data / "queries.npy")
        clients: dict[str, Client] = {}
        for name, contender in {
            LIMIT: Faiss(LISTS),
            f"{LIMIT} over gRPC": FaissServer(LISTS),
            "embeddb": Embeddb("auto"),
        }.items():
            clients |= connected(name, contender, data / name, data, running)
        for number in range(options.rounds):
            for name, client in clients.items():
                waited = clock.waits(
                    lambda n, c=client: len(c.search(queries[n % len(queries)][None])),  # type: ignore[misc]
                    options.seconds,
                )
                rounds.setdefault(name, []).append(waited)
            print(f"round {number + 1} of {options.rounds}", end="\r", flush=True)
    limit = np.array(rounds[LIMIT])[:, 0]
    results = {}
    for name, waits in rounds.items():
        p50, p99 = np.array(waits).T
        results[name] = {"p50, ms": float(np.median(p50)), "p99, ms": float(np.median(p99))}
        if name != LIMIT:
            results[name][f"p50 above {LIMIT}, ms"] = float(np.median(p50 - limit))
    about = {name: getattr(options, name) for name in ("vectors", "dimension", "rounds", "seconds")}
    about |= {"k": K, "embeddb": embeddb.__version__, "faiss": faiss.__version__, "grpcio": grpc.__version__}
    report.finish(options, where, about, results)


if __name__ == "__main__":
    main()
