"""embeddb compare, calibrate, classify and evaluate: the questions that hits do not answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embeddb.errors import EmbeddbError
from embeddb.options import Arithmetic, KReciprocal
from embeddb.questions import (
    DEFAULT_FALSE_ACCEPT_RATE,
    DEFAULT_NEIGHBOURS,
    DEFAULT_TEMPLATES,
    DEFAULT_TOP,
    Calibrate,
    Classify,
    Compare,
    Evaluate,
    Neighbours,
    OwnClasses,
    ZeroShot,
)
from embeddb_client.cli.expression import parse
from embeddb_client.cli.options import (
    Center,
    CollectionName,
    Json,
    Model,
    Server,
    connect,
    out,
    print_json,
    print_table,
)
from embeddb_client.cli.progress import following

__all__ = ["calibrate", "classify", "compare", "evaluate"]


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


def classify(
    expression: Annotated[str, typer.Argument(help="As for search.")],
    labels: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="A class; at least two, by texts.")
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option("--template", help="A sentence with {} where the label goes.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option("--scale", help="Of the softmax; the model's own by default.")
    ] = None,
    field: Annotated[
        str | None, typer.Option("--by", help="Instead of labels: neighbours vote by this metadata field.")
    ] = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", help="How many neighbours vote.")
    ] = DEFAULT_NEIGHBOURS,
    top: Annotated[int, typer.Option("--top", help="How many classes at most.")] = DEFAULT_TOP,
    model: Model = None,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Say what an expression shows: by --label texts, by --by neighbours, or by the model's own classes."""
    if labels and field is not None:
        raise typer.BadParameter("cannot be combined with --label", param_hint="--by")
    by: ZeroShot | Neighbours | OwnClasses
    if labels:
        by = ZeroShot(labels, template or DEFAULT_TEMPLATES, scale)
    else:
        by = OwnClasses() if field is None else Neighbours(field, neighbours)
    with connect(server, collection) as client:
        (found,) = client.ask(Classify([parse(expression)], by, top, model))
    if isinstance(found, EmbeddbError):
        raise found
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        print_table(["class", "score"], [(each.label, f"{each.score:.3f}") for each in found])


def evaluate(
    field: Annotated[str, typer.Argument(help="Of the metadata, which holds the identity.")],
    camera: Annotated[
        str | None, typer.Option("--camera", help="Of the metadata: an identity's own camera is passed over.")
    ] = None,
    queries: Annotated[str, typer.Option("--queries", help="A filter; all labelled items by default.")] = "",
    gallery: Annotated[str, typer.Option("--gallery", help="A filter; all labelled items by default.")] = "",
    multi_shot: Annotated[
        bool, typer.Option("--multi-shot", help="Ask the queries of one identity and camera together.")
    ] = False,
    reciprocal: Annotated[bool, typer.Option("--k-reciprocal", help="Re-rank by shared neighbours.")] = False,
    model: Model = None,
    center: Center = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Measure how well a space finds the same thing again: CMC, recall and mean average precision."""
    question = Evaluate(
        field,
        camera,
        queries,
        gallery,
        multi_shot=multi_shot,
        rerank=KReciprocal() if reciprocal else None,
        center=center,
        model=model,
    )
    with connect(server, collection) as client, following(hidden=as_json) as show:
        found = client.ask(question, on_progress=show)
    if as_json:
        print_json(asdict(found))
        return
    out.print(
        f"{found.queries:,} queries ({found.unmatched:,} more without a match), {found.gallery:,} items, "
        f"mean average precision {found.mean_average_precision:.4f}"
    )
    rows = [(rank, f"{found.cmc[rank]:.4f}", f"{found.recall[rank]:.4f}") for rank in question.ranks]
    print_table(["rank", "CMC", "recall"], rows)


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
