"""embeddb get, rm and list: stored items."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from embeddb.errors import EmbeddbError, FailedPreconditionError
from embeddb.query import StoredItem, View
from embeddb_client.cli.options import (
    CollectionName,
    Json,
    Server,
    connect,
    err,
    in_short,
    out,
    print_json,
    print_table,
    shell_word,
)

__all__ = ["get", "item_json", "ls", "predicted", "rm"]


def get(
    item_id: Annotated[str, typer.Argument(metavar="ID", help="The item.")],
    features: Annotated[bool, typer.Option("--features", help="Print its features too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write its payload to a file.")
    ] = None,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Show an item."""
    with connect(server, collection) as client:
        item = client.get(item_id, with_payload=output is not None, with_features=True, with_predictions=True)
    if output is not None:
        if item.payload is None:
            raise FailedPreconditionError(f"--output: item {item_id!r} was stored without its payload")
        output.write_bytes(item.payload.read())
    if as_json:
        print_json(item_json(item, with_features=features))
        return
    rows: list[tuple[str, object]] = [("id", item.id), ("kind", item.modality or "features alone")]
    rows += [(f"metadata.{key}", value) for key, value in item.metadata.items()]
    rows += [(f"predictions of {model}", predicted(item, model)) for model in item.predictions]
    for model, vector in item.features.items():
        shown = vector.tolist() if features else f"{len(vector)} dimensions"
        rows.append((f"features of {model}", shown))
    print_table(["field", "value"], rows)


def ls(
    prefix: Annotated[str, typer.Option("--prefix", help="Only ids that begin with this.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many at most.")] = 100,
    after: Annotated[str, typer.Option("--after", help="Begin after this id.")] = "",
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """List items in the order of their ids."""
    with connect(server, collection) as client:
        page = client.list_items(
            page_size=limit, page_token=after, prefix=prefix, view=View(predictions=True)
        )
    if as_json:
        items = [item_json(item, with_features=False) for item in page.items]
        print_json({"items": items, "next": page.next_token or None})
        return
    rows = [(item.id, item.modality or "", in_short(item.metadata)) for item in page.items]
    print_table(["id", "kind", "metadata"], rows, none="no items")
    if page.next_token:
        err.print(f"more: --after {shell_word(page.next_token)}", soft_wrap=True)


def rm(
    item_ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The items.")] = None,
    where: Annotated[
        str | None, typer.Option("--filter", help="Delete the items that satisfy this, such as 'price < 20'.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many it would be, and delete none.")
    ] = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Delete items, by their ids or by a filter."""
    if bool(item_ids) == (where is not None):
        raise typer.BadParameter("give either ids or --filter", param_hint="ID...")
    done = "would delete" if dry_run else "deleted"
    with connect(server, collection) as client:
        if where is not None:
            deleted = client.delete_where(where, dry_run=dry_run)
            if as_json:
                print_json({done.replace(" ", "_"): deleted})
            else:
                out.print(f"{done} {deleted:,}")
            return
        assert item_ids is not None
        outcomes = client.get_many(item_ids) if dry_run else client.delete_many(item_ids)
    missing = [
        item_id
        for item_id, outcome in zip(item_ids, outcomes, strict=True)
        if isinstance(outcome, EmbeddbError)
    ]
    if as_json:
        deleted = len(item_ids) - len(missing)
        print_json({done.replace(" ", "_"): deleted, "missing": missing})
    else:
        out.print(f"{done} {len(item_ids) - len(missing)} of {len(item_ids)}")
        for item_id in missing:
            err.print(f"no item named {item_id!r}", soft_wrap=True)
    if missing:
        raise typer.Exit(1)


def item_json(item: StoredItem, *, with_features: bool) -> dict[str, Any]:
    """An item as plain data."""
    shown: dict[str, Any] = {"id": item.id, "modality": item.modality, "metadata": item.metadata}
    if item.predictions:
        shown["predictions"] = {
            model: [asdict(prediction) for prediction in found] for model, found in item.predictions.items()
        }
    if with_features:
        shown["features"] = {model: vector.tolist() for model, vector in item.features.items()}
    return shown


def predicted(item: StoredItem, model: str, most: int = 3) -> str:
    """The likeliest classes that a model sees in an item, in words."""
    return ", ".join(f"{each.label} {each.score:.0%}" for each in item.predictions[model][:most])
