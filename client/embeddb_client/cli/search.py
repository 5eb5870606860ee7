"""embeddb search: what is like this?"""

from __future__ import annotations

import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from embeddb.options import Arithmetic, Combine, Diversify, Effort, Fusion, FusionMethod, Group, KReciprocal
from embeddb.query import (
    DEFAULT_CANDIDATES,
    DEFAULT_K,
    Expression,
    Hit,
    Image,
    StoredItem,
    View,
    item_ids,
)
from embeddb_client.cli.completion import model_names
from embeddb_client.cli.expression import parse
from embeddb_client.cli.items import item_json, predicted
from embeddb_client.cli.options import (
    CollectionName,
    Json,
    Server,
    connect,
    err,
    in_short,
    print_json,
    print_table,
)
from embeddb_client.cli.pictures import check_terminal, print_pictures
from embeddb_client.client import Client
from embeddb_client.page import Answer, write_page

__all__ = ["search"]


def search(
    expression: Annotated[
        str, typer.Argument(help="""Such as '@cat.jpg - "a cat" + 0.5 * #sku-42', or just a sentence.""")
    ],
    k: Annotated[int, typer.Option("-k", help="How many hits at most.")] = DEFAULT_K,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Whose space; the collection's first unless told; given again, several at once.",
            autocompletion=model_names,
        ),
    ] = None,
    fuse: Annotated[
        FusionMethod, typer.Option("--fuse", help="How the hits of several spaces become one list.")
    ] = FusionMethod.RANK,
    include_operands: Annotated[
        bool, typer.Option("--include-operands", help="Items that the expression names may be hits.")
    ] = False,
    where: Annotated[
        str | None,
        typer.Option("--filter", "-f", help="What hits satisfy, such as 'price < 20 and not sold'."),
    ] = None,
    combine: Annotated[Combine, typer.Option("--combine", help="How operands make one score.")] = Combine.SUM,
    center: Annotated[
        bool, typer.Option("--center", help="Subtract the mean of each operand's modality first.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each operand contributed to a score.")
    ] = False,
    candidates: Annotated[
        int, typer.Option("--candidates", help="How many are scored anew, where that is needed.")
    ] = DEFAULT_CANDIDATES,
    offset: Annotated[int, typer.Option("--offset", help="How many hits (or groups) to pass over.")] = 0,
    min_score: Annotated[
        float | None, typer.Option("--min-score", help="Only what scores at least this.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", help="The best of each value of this metadata field.")
    ] = None,
    per_group: Annotated[
        int | None, typer.Option("--per-group", help="How many of each value at most; 1 unless told.")
    ] = None,
    diverse: Annotated[
        float | None,
        typer.Option("--diversify", help="Hits that differ: 1 is the score alone, 0 the difference."),
    ] = None,
    reciprocal: Annotated[bool, typer.Option("--k-reciprocal", help="Re-rank by shared neighbours.")] = False,
    effort: Annotated[
        Effort, typer.Option("--effort", help="How hard to look where the index is approximate.")
    ] = Effort.BALANCED,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Show the pictures found in the terminal.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the pictures found.")] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Show the page in a browser; needs --html.")
    ] = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Find what is nearest to an expression: @file is an image, "..." a text, #id a stored item."""
    if open_page and html is None:
        raise typer.BadParameter("needs --html FILE", param_hint="--open")
    if pictures:
        check_terminal()
    if diverse is not None and reciprocal:
        raise typer.BadParameter("cannot be combined with --k-reciprocal", param_hint="--diversify")
    if where is not None and not where.strip():
        raise typer.BadParameter("is empty; leave it out to search everything", param_hint="--filter")
    if per_group is not None and group_by is None:
        raise typer.BadParameter("needs --group-by FIELD", param_hint="--per-group")
    parsed = parse(expression)
    with connect(server, collection) as client:
        hits = client.search(
            parsed,
            k,
            model=model[0] if model and len(model) == 1 else None,
            fusion=Fusion(model, fuse) if model and len(model) > 1 else None,
            include_operands=include_operands,
            filter=where or "",
            arithmetic=Arithmetic(combine=combine, center=center),
            explain=explain,
            effort=effort,
            candidates=candidates,
            offset=offset,
            min_score=min_score,
            group=None if group_by is None else Group(group_by, 1 if per_group is None else per_group),
            rerank=KReciprocal() if reciprocal else None if diverse is None else Diversify(diverse),
            with_payload=pictures or html is not None,
            with_predictions=True,
        )
        if html is not None:
            write_page(html, expression, {"": [Answer(parsed, hits)]}, pictures=_pictures(client, parsed))
    if html is not None:
        err.print(f"wrote {html}")
        if open_page:
            webbrowser.open(html.resolve().as_uri())
    if as_json:
        print_json([_hit_json(hit) for hit in hits])
    else:
        _print_hits(hits)
    if pictures:
        print_pictures(hits)


def _pictures(client: Client, expression: Expression) -> dict[str, Image]:
    """The pictures of the items that an expression names."""
    named = item_ids(expression)
    items = client.get_many(named, view=View(payload=True)) if named else []
    return {
        item.id: item.payload
        for item in items
        if isinstance(item, StoredItem) and isinstance(item.payload, Image)
    }


def _print_hits(hits: list[Hit]) -> None:
    """Print hits as a table."""
    rows = [
        (
            place,
            hit.id,
            f"{hit.score:.3f}",
            " ".join(f"{each.share:+.3f}" for each in hit.explanation),
            "; ".join(predicted(hit.item, model) for model in hit.item.predictions),
            in_short(hit.metadata),
            hit.model or "",
        )
        for place, hit in enumerate(hits, start=1)
    ]
    print_table(["", "item", "score", "shares", "classes seen", "metadata", "model"], rows)


def _hit_json(hit: Hit) -> dict[str, Any]:
    found = {"score": hit.score, **item_json(hit.item, with_features=False)}
    if hit.model is not None:
        found["model"] = hit.model
    if hit.group is not None:
        found["group"] = hit.group
    return found | ({"explanation": [asdict(each) for each in hit.explanation]} if hit.explanation else {})
