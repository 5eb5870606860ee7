"""Search as a service: embeddb-server over gRPC beside other vector stores, with FAISS as the limit.

    python benchmarks/search_service.py --vectors 100000 --json search_service.json

Every contender gets the same clustered unit vectors and looks for the ten of the greatest cosine, as hard as
it must to find 95 in 100 of the exact ten. One after the other, each in processes of its own; callers are
threads of one Python process. The peers are installed into the folder `--cache`, and nowhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import faiss
import machine
import numpy as np
import report
from clusters import make_data, nearest, write_vectors
from contenders import CONTENDERS, K
from environments import DEFAULT, environment, pins

import embeddb

HERE = Path(__file__).parent
PEERS = HERE / "peers.txt"
OWN = [name for name, entry in CONTENDERS.items() if not entry.peer]


def write_data(folder: Path, count: int, dimension: int, queries: int) -> None:
    """The vectors, the queries, and the true ten nearest of each."""
    draw = make_data(dimension, np.random.default_rng(0))
    asked = draw(queries)
    vectors = write_vectors(folder / "vectors.npy", draw, count)
    np.save(folder / "queries.npy", asked)
    np.save(folder / "truth.npy", nearest(vectors, asked, K))


def run(command: list[object]) -> None:
    """Run a contender; with it ends whatever server it has started, however it ends."""
    # What pip has installed has its bytecode; of a checkout the first start writes it, if it may.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [str(each) for each in command]
    with subprocess.Popen(words, cwd=HERE, env=environ, start_new_session=True) as child:
        try:
            code = child.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if code:
        sys.exit(f"{command[3]} failed")


def versions(peers: bool) -> dict[str, str]:
    """Of what is measured."""
    own = {"embeddb": embeddb.__version__, "faiss": faiss.__version__}
    return own | (pins(PEERS) if peers else {})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of queries")
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
    results: report.Results = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        # A contender runs in another folder.
        folder = Path(temporary).resolve()
        write_data(folder, options.vectors, options.dimension, options.queries)
        for name in names:
            print(name, flush=True)
            python = peers if CONTENDERS[name].peer else sys.executable
            figures = folder / "figures.json"
            command = [python, "-m", "contenders", name, "--data", folder, "--folder", folder / name]
            command += ["--seconds", str(options.seconds), "--json", figures]
            run(command)
            results |= json.loads(figures.read_text())
            shutil.rmtree(folder / name)
    print(f"\n{options.vectors:,} vectors of {options.dimension} dimensions, cosine, top {K}\n")
    about = {name: getattr(options, name) for name in ("vectors", "dimension", "queries", "seconds")}
    report.finish(options, where, about | versions(peers is not None), results)


if __name__ == "__main__":
    main()
