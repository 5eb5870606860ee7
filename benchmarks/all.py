"""Every table of docs/benchmarks.md, one benchmark after the other, on a machine that does nothing else.

    python benchmarks/all.py

The figures go to benchmarks/results, and from there into docs/benchmarks.md. A benchmark that fails or takes
longer than it may is named at the end, and the others go on.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from environments import DEFAULT

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# What a benchmark is given to end its servers once it was interrupted.
END_SECONDS = 30


@dataclass(frozen=True)
class Step:
    """One benchmark.

    Attributes:
        script: the program and its arguments.
        minutes: the longest it may take.
        peers: whether it installs what embeddb is measured beside.
    """

    script: tuple[str, ...]
    minutes: float
    peers: bool = False


# The first two are what `make bench` compares with.
STEPS = {
    "bench_search": Step(
        ("search_service.py", "--own", "--vectors", "20000", "--rounds", "3", "--seconds", "0.2"),
        4,
    ),
    "bench_embed": Step(
        ("embed_service.py", "--own", "--model", "ViT-B/32", "--rounds", "2", "--seconds", "0.5"), 4
    ),
    "search_100000": Step(("search_service.py", "--vectors", "100000"), 15, peers=True),
    "embed": Step(("embed_service.py", "--compiled"), 15, peers=True),
    "end_to_end": Step(("end_to_end.py",), 10),
    "search_1000000": Step(
        ("search_service.py", "--vectors", "1000000", "--only", "embeddb", "--only", "FAISS IVF"), 12
    ),
    "growth": Step(("growth.py",), 60),
    "index": Step(("index.py", "--vectors", "200000"), 8),
    "threshold": Step(("threshold.py",), 6),
    "million": Step(("million.py",), 12),
    "filters": Step(("filters.py",), 5),
    "writes": Step(("writes.py",), 6),
    "messages": Step(("messages.py",), 1),
    "queries": Step(("queries.py",), 3),
    "models": Step(("models.py",), 3),
    "calls": Step(("calls.py",), 3),
    "stream": Step(("stream.py", "--gigabytes", "10"), 8),
    "soak": Step(("soak.py", "--seconds", "300"), 8),
    # Says so where there is no GPU.
    "gpu": Step(("gpu.py",), 60),
}


def run(name: str, step: Step, cache: Path) -> str | None:
    """Run one benchmark; why it gave nothing, if it did not."""
    command = [sys.executable, str(HERE / step.script[0]), *step.script[1:]]
    command += ["--json", str(RESULTS / f"{name}.json")]
    if step.peers:
        command += ["--cache", str(cache)]
    print(f"\n== {name}: {' '.join(step.script)}", flush=True)
    with subprocess.Popen(command) as child:
        try:
            code = child.wait(60 * step.minutes)
        except subprocess.TimeoutExpired:
            # As from the keyboard, so that it ends its servers.
            child.send_signal(signal.SIGINT)
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
            return f"took longer than {step.minutes} minutes"
    return f"ended with {code}" if code else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=STEPS, help="these; all if not given")
    parser.add_argument("--cache", type=Path, default=DEFAULT, help="where peers are installed")
    options = parser.parse_args()
    failures = {}
    for name in options.only or STEPS:
        begun = time.perf_counter()
        failure = run(name, STEPS[name], options.cache)
        print(f"== {name}: {time.perf_counter() - begun:.0f} s", flush=True)
        if failure is not None:
            failures[name] = failure
        # After each, so that what is there is shown even if this is stopped.
        if name == "growth" and failure is None:
            subprocess.run([sys.executable, HERE / "growth_plot.py"], check=True)
        subprocess.run([sys.executable, HERE / "tables.py"], check=True)
    for name, failure in failures.items():
        print(f"!! {name} {failure}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
