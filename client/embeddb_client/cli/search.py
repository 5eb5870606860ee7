"""embeddb search: what is like this?"""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from embeddb.errors import or_raise
from embeddb.options import Arithmetic, Combine, Diversify, Effort, Fusion, FusionMethod, Group, KReciprocal
from embeddb.query import (
    DEFAULT_K,
    Expression,
    Hit,
    Image,
    Search,
    StoredItem,
    View,
    item_ids,
)
from embeddb_client.cli import search_options as options
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
    expression: options.Typed,
    k: options.K = DEFAULT_K,
    where: options.Where = None,
    offset: options.Offset = 0,
    min_score: options.MinScore = None,
    include_operands: options.IncludeOperands = False,
    model: options.Models = None,
    fuse: options.Fuse = None,
    combine: options.Combined = Combine.SUM,
    center: options.Centred = False,
    effort: options.Efforts = Effort.BALANCED,
    explain: options.Explain = False,
    candidates: options.Candidates = None,
    diverse: options.Diverse = None,
    reciprocal: options.Reciprocal = False,
    group_by: options.GroupBy = None,
    per_group: options.PerGroup = None,
    pictures: options.Pictures = False,
    html: options.Html = None,
    open_page: options.Open = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Find what is nearest to an expression: @file is an image, "..." a text, #id a stored item."""
    if open_page and html is None:
        raise typer.BadParameter("needs --html FILE", param_hint="--open")
    if pictures:
        check_terminal()
    if where is not None and not where.strip():
        raise typer.BadParameter("is empty; leave it out to search everything", param_hint="--filter")
    if fuse is not None and len(model or ()) < 2:
        raise typer.BadParameter("needs --model twice or more", param_hint="--fuse")
    question = Search(
        (parse(expression),),
        k,
        model[0] if model and len(model) == 1 else None,
        include_operands,
        View(payload=pictures or html is not None, predictions=True),
        Arithmetic(combine=combine, center=center),
        explain,
        candidates,
        where or "",
        offset,
        min_score,
        _group(group_by, per_group),
        _rerank(diverse, reciprocal),
        Fusion(model, fuse or FusionMethod.RANK) if model and len(model) > 1 else None,
        effort,
    )
    with connect(server, collection) as client:
        hits = or_raise(client.search_many(question)[0])
        if html is not None:
            _write_page(client, html, expression, question.expressions[0], hits)
    if open_page and html is not None:
        webbrowser.open(html.resolve().as_uri())
    if as_json:
        print_json([_hit_json(hit) for hit in hits])
    else:
        _print_hits(hits)
    if pictures:
        print_pictures(hits)


def _group(field: str | None, size: int | None) -> Group | None:
    if field is not None:
        return Group(field, 1 if size is None else size)
    if size is not None:
        raise typer.BadParameter("needs --group-by FIELD", param_hint="--per-group")
    return None


def _rerank(diverse: float | None, reciprocal: bool) -> Diversify | KReciprocal | None:
    if diverse is None:
        return KReciprocal() if reciprocal else None
    if reciprocal:
        raise typer.BadParameter("cannot be combined with --k-reciprocal", param_hint="--diversify")
    return Diversify(diverse)


def _write_page(client: Client, path: Path, title: str, expression: Expression, hits: Sequence[Hit]) -> None:
    write_page(path, title, {"": [Answer(expression, hits)]}, pictures=_pictures(client, expression))
    err.print(f"wrote {path}", soft_wrap=True)


def _pictures(client: Client, expression: Expression) -> dict[str, Image]:
    """The pictures of the items that an expression names."""
    named = item_ids(expression)
    items = client.get_many(named, view=View(payload=True)) if named else []
    return {
        item.id: item.payload
        for item in items
        if isinstance(item, StoredItem) and isinstance(item.payload, Image)
    }


def _print_hits(hits: Sequence[Hit]) -> None:
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
    columns = ["", "item", "score", "shares", "classes seen", "metadata", "model"]
    print_table(columns, rows, none="no hits")


def _hit_json(hit: Hit) -> dict[str, Any]:
    found = {"score": hit.score, **item_json(hit.item, with_features=False)}
    if hit.model is not None:
        found["model"] = hit.model
    if hit.group is not None:
        found["group"] = hit.group
    return found | ({"explanation": [asdict(each) for each in hit.explanation]} if hit.explanation else {})
