"""The figures of a benchmark: as a table, as JSON, and beside those of an earlier run."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, float]]
"""What was measured of each contender, by the name of the figure."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what becomes of the figures."""
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--compare", type=Path, help="show what times the figures of this file they are")


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
    if before is not None:
        print(f"In parentheses: how many times the figure of {options.compare} it is.")
        for part in ("machine", "about"):
            for key, value in before[part].items():
                if now[part].get(key) != value:
                    print(f"There {key} was {value}, here it is {now[part].get(key)}.")
    print(f"\n{table(results, before['results'] if before else {})}")
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


def _cell(value: float | None, before: float | None) -> str:
    if value is None:
        return ""
    # Three digits that count, and all of those before the point.
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}" + (f" ({value / before:.2f})" if before else "")
