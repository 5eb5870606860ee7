"""The options of `embeddb search`, in the groups that its help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embeddb.options import Combine, Effort, FusionMethod
from embeddb.query import DEFAULT_CANDIDATES
from embeddb_client.cli.completion import model_names

WHICH = "Which items"
HOW = "How they are scored"
ORDER = "How they are ordered"
SHOWN = "How they are shown"

Typed = Annotated[
    str, typer.Argument(help="""Such as '@cat.jpg - "a cat" + 0.5 * #sku-42', or just a sentence.""")
]

K = Annotated[int, typer.Option("-k", help="How many hits at most.", rich_help_panel=WHICH)]
Where = Annotated[
    str | None,
    typer.Option(
        "--filter",
        "-f",
        help="What hits satisfy, such as 'price < 20 and not sold'.",
        rich_help_panel=WHICH,
    ),
]
Offset = Annotated[
    int, typer.Option("--offset", help="How many hits (or groups) to pass over.", rich_help_panel=WHICH)
]
MinScore = Annotated[
    float | None,
    typer.Option("--min-score", help="Only what scores at least this.", rich_help_panel=WHICH),
]
IncludeOperands = Annotated[
    bool,
    typer.Option(
        "--include-operands",
        help="Items that the expression names may be hits.",
        rich_help_panel=WHICH,
    ),
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="Whose space; the collection's first by default; given again, several at once.",
        autocompletion=model_names,
        rich_help_panel=HOW,
    ),
]
Fuse = Annotated[
    FusionMethod | None,
    typer.Option(
        "--fuse",
        help="How the hits of several spaces become one list; by their ranks by default.",
        rich_help_panel=HOW,
    ),
]
Combined = Annotated[
    Combine, typer.Option("--combine", help="How operands make one score.", rich_help_panel=HOW)
]
Centred = Annotated[
    bool,
    typer.Option("--center", help="Subtract the mean of each operand's modality first.", rich_help_panel=HOW),
]
Efforts = Annotated[
    Effort,
    typer.Option("--effort", help="How hard to look where the index is approximate.", rich_help_panel=HOW),
]
Explain = Annotated[
    bool,
    typer.Option("--explain", help="Say what each operand contributed to a score.", rich_help_panel=HOW),
]

Candidates = Annotated[
    int | None,
    typer.Option(
        "--candidates",
        help=f"How many are scored or re-ranked, where that is asked for; {DEFAULT_CANDIDATES} by default.",
        rich_help_panel=ORDER,
    ),
]
Diverse = Annotated[
    float | None,
    typer.Option(
        "--diversify",
        help="Hits that differ: 1 is the score alone, 0 the difference.",
        rich_help_panel=ORDER,
    ),
]
Reciprocal = Annotated[
    bool, typer.Option("--k-reciprocal", help="Re-rank by shared neighbours.", rich_help_panel=ORDER)
]
GroupBy = Annotated[
    str | None,
    typer.Option("--group-by", help="The best of each value of this metadata field.", rich_help_panel=ORDER),
]
PerGroup = Annotated[
    int | None,
    typer.Option("--per-group", help="How many of each value at most; 1 by default.", rich_help_panel=ORDER),
]

Pictures = Annotated[
    bool,
    typer.Option("--pictures", help="Show the pictures found in the terminal.", rich_help_panel=SHOWN),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write a page with the pictures found.", rich_help_panel=SHOWN),
]
Open = Annotated[
    bool, typer.Option("--open", help="Show the page in a browser; needs --html.", rich_help_panel=SHOWN)
]
