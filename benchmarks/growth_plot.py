"""Draws benchmarks/results/growth.json as docs/images/growth.svg.

python benchmarks/growth_plot.py
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

HERE = Path(__file__).parent
PANELS = {
    "a lone query's p50, ms": "p50, unary, ms",
    "queries/s in batches of 64": "queries/s, batches of 64",
    "durable inserts/s": "inserts/s since the size before",
    "memory, MB": "memory after it, MB",
    "disk, MB": "disk, MB",
    "start to the first answer, s": "reopen to the first answer, s",
}
COLUMNS = 3
COLOUR = "#1b6ca8"
MARGIN = 0.3  # In decades.


def draw(results: dict[str, dict[str, float]]) -> Figure:
    """A panel for each figure, with logarithmic axes: what grows with the size is a diagonal."""
    sizes = [int(name.replace(",", "")) for name in results]
    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    panels = figure.subplots(len(PANELS) // COLUMNS, COLUMNS, sharex=True)
    for axes, (title, name) in zip(panels.flat, PANELS.items(), strict=True):
        values = [figures[name] for figures in results.values()]
        axes.loglog(sizes, values, marker="o", color=COLOUR)
        for size, value in zip(sizes, values, strict=True):
            axes.annotate(
                f"{value:,.3g}" if value < 1000 else f"{value:,.0f}",
                (size, value),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.set_title(title, fontsize=10)
        # As many decades on both axes, so that slopes are what they are.
        half, middle = 10**MARGIN * math.sqrt(sizes[-1] / sizes[0]), math.sqrt(min(values) * max(values))
        axes.set_xlim(sizes[0] / 10**MARGIN, sizes[-1] * 10**MARGIN)
        axes.set_ylim(middle / half, middle * half)
        axes.grid(which="major", alpha=0.3)
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("vectors")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=HERE / "results/growth.json")
    parser.add_argument("--to", type=Path, default=HERE.parent / "docs/images/growth.svg")
    options = parser.parse_args()
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "growth"
    figure = draw(json.loads(options.json.read_text())["results"])
    figure.savefig(options.to, metadata={"Date": None})


if __name__ == "__main__":
    main()
