"""The figures of a benchmark: as a table, as JSON, and beside those of an earlier run.

The name of a figure ends with its unit. Of those in ms, s, MB and switches less is better, of all others
more. Bare FAISS, bare gRPC and loops written by hand are measured beside embeddb, so what they have slowed
down by is the machine's doing.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, float]]
"""What was measured of each contender, by the name of the figure."""

COSTS = (", ms", ", s", ", MB", ", switches")
TIMES = (", ms", ", s", "/s")
# What is worse by less is taken for noise.
NOISE = 1.3
# What contenders and figures begin with that are not embeddb's own.
OTHERS = ("FAISS", "gRPC", "by hand", "Chroma", "LanceDB", "Milvus", "Infinity")
# Too short to be compared.
SHORT = {", ms": 0.05, ", s": 0.1}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what becomes of the figures."""
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument(
        "--compare", type=Path, help="show what times the figures of this file they are, and what got worse"
    )


def finish(
    options: argparse.Namespace, where: Mapping[str, Any], about: Mapping[str, Any], results: Results
) -> None:
    """Print the table, and do with the figures what the options say.

    Args:
        options: with those of `add_options`.
        where: the machine as it was at the start, before the benchmark itself was its load.
        about: what was asked for, and the versions of what was measured.
        results: the figures.
    """
    about = {"python": platform.python_version(), **about}
    now = {"machine": where, "about": about, "results": results}
    before = None
    if options.compare and options.compare.exists():
        before = json.loads(options.compare.read_text())
    print(f"\n{table(results, before['results'] if before else {})}")
    if before is not None:
        print(f"\nIn parentheses: how many times the figure of {options.compare} it is.")
        for part in ("machine", "about"):
            for key, value in before[part].items():
                if now[part].get(key) != value:
                    print(f"There {key} was {value}, here it is {now[part].get(key)}.")
        _tell(results, before["results"])
    elif options.compare:
        print(f"\nThere is no {options.compare} to compare with: nothing is said of what got slower.")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(now, indent=2) + "\n")


def table(results: Results, before: Results) -> str:
    """Markdown: a column for each contender, a row for each figure."""
    names = dict.fromkeys(name for figures in results.values() for name in figures)
    lines = [f"| | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        cells = [_cell(figures.get(name), before.get(who, {}).get(name)) for who, figures in results.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine_slowdown(results: Results, before: Results) -> float:
    """How many times slower the machine is: the median of what is not embeddb's; at least 1."""
    times = [
        times
        for who, name, times in _compared(results, before)
        if _is_control(who, name) and any(unit in name for unit in TIMES)
    ]
    return max(1.0, statistics.median(times)) if times else 1.0


def worse(results: Results, before: Results) -> Iterator[tuple[str, str, float]]:
    """What of embeddb's got worse by more than noise, and by more than the machine became slower.

    Yields:
        The contender, the name of the figure, and how many times worse it is, on a machine as it was.
    """
    slowdown = machine_slowdown(results, before)
    for who, name, times in _compared(results, before):
        beyond = times / slowdown if any(unit in name for unit in TIMES) else times
        if beyond > NOISE and not _is_control(who, name):
            yield who, name, beyond


def _compared(results: Results, before: Results) -> Iterator[tuple[str, str, float]]:
    """How many times worse each figure is that both have, and that takes long enough to be compared.

    A 99th percentile is left out: it is what the machine's other work made of it.
    """
    for who, figures in results.items():
        for name, value in figures.items():
            old = before.get(who, {}).get(name)
            if old and value and "p99" not in name:
                unit = next((unit for unit in COSTS if name.endswith(unit)), "")
                if max(value, old) > SHORT.get(unit, 0):
                    yield who, name, value / old if unit else old / value


def _is_control(who: str, name: str) -> bool:
    """Whether a figure is of something else than embeddb, run beside it."""
    return who.startswith(OTHERS) or name.startswith(OTHERS)


def _tell(results: Results, before: Results) -> None:
    slowdown = machine_slowdown(results, before)
    if slowdown > 1:
        print(
            f"\nWhat is not embeddb's is {slowdown:.2f} times slower: the machine is, and that is left out:"
        )
    found = sorted(worse(results, before), key=lambda each: -each[2])
    if not found:
        print(f"\nNothing is worse by more than {NOISE:.1f} times.")
        return
    print(f"\n{'!' * 20} WORSE by more than {NOISE:.1f} times {'!' * 20}")
    for who, name, times in found:
        print(f"!! {times:5.2f} times worse: {who}: {name}")


def _cell(value: float | None, before: float | None) -> str:
    if value is None:
        return ""
    # Three digits that count, and all of those before the point.
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}" + (f" ({value / before:.2f})" if before else "")
