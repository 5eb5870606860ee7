"""The figures of a benchmark: as a table, as JSON, and beside those of an earlier run.

The name of a figure ends with its unit. Of those in ms, s and MB less is better, of all others more.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, float]]
"""What was measured of each contender, by the name of the figure."""

COSTS = (", ms", ", s", ", MB")
# Runs of the same code on the same machine differ by less, where nothing else runs.
NOISE = 1.3
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
    before = json.loads(options.compare.read_text()) if options.compare else None
    print(f"\n{table(results, before['results'] if before else {})}")
    if before is not None:
        print(f"\nIn parentheses: how many times the figure of {options.compare} it is.")
        for part in ("machine", "about"):
            for key, value in before[part].items():
                if now[part].get(key) != value:
                    print(f"There {key} was {value}, here it is {now[part].get(key)}.")
        _tell(list(worse(results, before["results"])))
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


def worse(results: Results, before: Results) -> Iterator[tuple[str, str, float]]:
    """What got worse by more than runs of the same code differ.

    A 99th percentile is left out: it is what the machine's other work made of it.

    Yields:
        The contender, the name of the figure, and how many times worse it is.
    """
    for who, figures in results.items():
        for name, value in figures.items():
            old = before.get(who, {}).get(name)
            if not old or not value or "p99" in name:
                continue
            unit = next((unit for unit in COSTS if name.endswith(unit)), "")
            times = value / old if unit else old / value
            if times > NOISE and max(value, old) > SHORT.get(unit, 0):
                yield who, name, times


def _tell(found: list[tuple[str, str, float]]) -> None:
    if not found:
        print(f"\nNothing is worse by more than {NOISE:.1f} times.")
        return
    print(f"\n{'!' * 20} WORSE by more than {NOISE:.1f} times {'!' * 20}")
    for who, name, times in sorted(found, key=lambda each: -each[2]):
        print(f"!! {times:5.2f} times worse: {who}: {name}")


def _cell(value: float | None, before: float | None) -> str:
    if value is None:
        return ""
    # Three digits that count, and all of those before the point.
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}" + (f" ({value / before:.2f})" if before else "")
