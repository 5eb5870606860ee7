"""embeddb search: what is like this?"""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from embeddb.query import DEFAULT_K, Expression, Hit, Image, Item, StoredItem, Unit, View
from embeddb_client.cli.completion import model_names
from embeddb_client.cli.expression import parse
from embeddb_client.cli.items import item_json, predicted
from embeddb_client.cli.options import CollectionName, Json, Server, connect, err, print_json, print_table
from embeddb_client.client import Client
from embeddb_client.page import Answer, write_page

__all__ = ["search"]


def search(
    expression: Annotated[
        str, typer.Argument(help="""Such as '@cat.jpg - "a cat" + 0.5 * #sku-42', or just a sentence.""")
    ],
    k: Annotated[int, typer.Option("-k", help="How many hits at most.")] = DEFAULT_K,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Whose space; the collection's first unless told.",
            autocompletion=model_names,
        ),
    ] = None,
    include_operands: Annotated[
        bool, typer.Option("--include-operands", help="Items that the expression names may be hits.")
    ] = False,
    where: Annotated[
        str, typer.Option("--filter", "-f", help="What hits satisfy, such as 'price < 20 and not sold'.")
    ] = "",
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
    parsed = parse(expression)
    with connect(server, collection) as client:
        hits = client.search(
            parsed,
            k,
            model=model,
            include_operands=include_operands,
            filter=where,
            with_payload=html is not None,
            with_predictions=True,
        )
        if html is not None:
            write_page(html, expression, {"": [Answer(parsed, hits)]}, pictures=_pictures(client, parsed))
    if html is not None:
        err.print(f"wrote {html}")
        if open_page:
            webbrowser.open(html.resolve().as_uri())
    if as_json:
        print_json([{"score": hit.score, **item_json(hit.item, with_features=False)} for hit in hits])
    else:
        print_hits(hits)


def _pictures(client: Client, expression: Expression) -> dict[str, Image]:
    """The pictures of the items that an expression names."""
    named = list(dict.fromkeys(_item_ids(expression)))
    items = client.get_many(named, view=View(payload=True)) if named else []
    return {
        item.id: item.payload
        for item in items
        if isinstance(item, StoredItem) and isinstance(item.payload, Image)
    }


def _item_ids(expression: Expression) -> Iterator[str]:
    for _, operand in expression.terms:
        if isinstance(operand, Item):
            yield operand.id
        elif isinstance(operand, Unit):
            yield from _item_ids(operand.expression)


def print_hits(hits: list[Hit], title: str | None = None) -> None:
    """Print hits as a table."""
    rows = []
    for place, hit in enumerate(hits, start=1):
        seen = "; ".join(predicted(hit.item, model) for model in hit.item.predictions)
        rows.append((place, hit.id, f"{hit.score:.3f}", seen, dict(hit.metadata) or ""))
    print_table(["", "item", "score", "classes seen", "metadata"], rows, title)
