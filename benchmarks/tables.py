"""Writes the tables of docs/benchmarks.md anew from benchmarks/results, so that no figure is typed by hand.

    python benchmarks/tables.py

A table stands between `<!-- table NAME -->` and `<!-- end -->`, and comes from `results/NAME.json`. Where
there is a `docs/images/NAME.svg`, it is shown too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import report

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs/benchmarks.md"
TABLE = re.compile(r"(<!-- table (?P<name>\w+) -->\n).*?(<!-- end -->\n)", re.S)


def written(document: str, results: Path = RESULTS) -> str:
    """The document with its tables as the results have them."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}{_block(results / (found['name'] + '.json'))}\n{found[3]}"

    return TABLE.sub(fill, document)


def _block(file: Path) -> str:
    """A table and what it was measured with, or that it was not measured."""
    if not file.exists():
        return "Not measured yet."
    found = json.loads(file.read_text())
    about = ", ".join(f"{name} {_said(value)}" for name, value in found["about"].items())
    figures = report.table(found["results"], {})
    if (DOCUMENT.parent / f"images/{file.stem}.svg").exists():
        figures += f"\n\n![The same, drawn](images/{file.stem}.svg)"
    return f"{_machine(found['machine'])} {about}.\n\n{figures}\n"


def _machine(where: Mapping[str, Any]) -> str:
    extensions = f" ({where['extensions']})" if where["extensions"] else ""
    return (
        f"{where['processor']}{extensions}, {where['cores']} cores, {where['memory_gb']} GB; "
        f"load before the start {where['load']}."
    )


def _said(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if it would change something"
    )
    options = parser.parse_args()
    before = DOCUMENT.read_text()
    after = written(before)
    if options.check and before != after:
        sys.exit(f"{DOCUMENT} is not what the results say: run python benchmarks/tables.py")
    DOCUMENT.write_text(after)


if __name__ == "__main__":
    main()
