"""embeddb compare and calibrate: how alike, and from when on the same."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embeddb.options import Arithmetic
from embeddb.questions import DEFAULT_FALSE_ACCEPT_RATE, Calibrate, Compare
from embeddb_client.cli.completion import model_names
from embeddb_client.cli.expression import parse
from embeddb_client.cli.options import CollectionName, Json, Server, connect, out, print_json, print_table

__all__ = ["calibrate", "compare"]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="In whose space; the collection's first unless told.",
        autocompletion=model_names,
    ),
]
Center = Annotated[bool, typer.Option("--center", help="Subtract the mean of each modality first.")]


def compare(
    expressions: Annotated[list[str], typer.Argument(help="Two or more, as for search.")],
    model: Model = None,
    center: Center = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Say how alike expressions are, each with each."""
    parsed = [parse(each) for each in expressions]
    with connect(server, collection) as client:
        matrix = client.ask(Compare(parsed, model=model, arithmetic=Arithmetic(center=center))).tolist()
    if as_json:
        print_json(matrix)
        return
    rows = [
        (typed, *(f"{value:.3f}" for value in row)) for typed, row in zip(expressions, matrix, strict=True)
    ]
    print_table(["", *expressions], rows)


def calibrate(
    field: Annotated[
        str, typer.Argument(help="Of the metadata; items with equal values there are the same.")
    ],
    false_accept_rate: Annotated[
        float, typer.Option("--false-accept-rate", help="Share of different pairs that may be accepted.")
    ] = DEFAULT_FALSE_ACCEPT_RATE,
    model: Model = None,
    center: Center = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Find the similarity from which on two items are the same, from labelled ones."""
    with connect(server, collection) as client:
        found = client.ask(Calibrate(field, false_accept_rate, model, center))
    if as_json:
        print_json(asdict(found))
        return
    out.print(
        f"{found.items:,} items: {found.same_pairs:,} pairs of the same, "
        f"{found.different_pairs:,} of different"
    )
    print_table(
        ["threshold", "similarity", "different ones accepted", "same ones rejected"],
        [
            (
                "asked for",
                f"{found.threshold:.4f}",
                f"{found.false_accept_rate:.3%}",
                f"{found.false_reject_rate:.3%}",
            ),
            (
                "equal error",
                f"{found.equal_error_threshold:.4f}",
                f"{found.equal_error_rate:.3%}",
                f"{found.equal_error_rate:.3%}",
            ),
        ],
    )
