"""embeddb collections: add, list, rm."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embeddb.query import CollectionSettings, Encoding, Metric
from embeddb_client.cli.completion import collection_names, model_names
from embeddb_client.cli.options import Json, Server, connect, out, print_json, print_table

app = typer.Typer(help="The collections of a server.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A new name for the collection.")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A model that embeds its items; may be repeated.",
            autocompletion=model_names,
        ),
    ] = None,
    encoding: Annotated[
        Encoding, typer.Option(help="How features are stored; float16 takes half the room.")
    ] = Encoding.FLOAT32,
    keep_payloads: Annotated[
        bool, typer.Option(help="Whether images and texts are kept once they are embedded.")
    ] = True,
    metric: Annotated[
        Metric, typer.Option(help="How vectors are compared; the nearest has the largest score.")
    ] = Metric.COSINE,
    index: Annotated[
        str, typer.Option(help="auto, Flat (always exact) or a FAISS factory string such as HNSW32.")
    ] = CollectionSettings.index,
    recall: Annotated[
        float, typer.Option(help="The share of the exact nearest that searches find, 0.5 to 1.")
    ] = CollectionSettings.recall,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Make a collection. The first model is the one that searches use by default."""
    settings = CollectionSettings(encoding, keep_payloads, metric, index, recall)
    with connect(server) as client:
        info = client.create_collection(name, models or [], settings).info()
    if as_json:
        print_json(asdict(info))
    else:
        out.print(f"{name}: models {', '.join(info.models) or 'none'}")


@app.command("list")
def list_collections(server: Server = None, as_json: Json = False) -> None:
    """List the collections."""
    with connect(server) as client:
        collections = client.collections()
    if as_json:
        print_json([asdict(info) for info in collections])
        return
    rows = [(info.name, f"{info.items:,}", ", ".join(info.models)) for info in collections]
    print_table(["collection", "items", "models"], rows)


@app.command()
def rm(
    name: Annotated[str, typer.Argument(help="The collection.", autocompletion=collection_names)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Delete a collection with all its items."""
    with connect(server) as client:
        items = client.collection(name).info().items
        if not yes:
            typer.confirm(f"Delete {name} with its {items:,} items?", abort=True, err=True)
        client.drop_collection(name)
    if as_json:
        print_json({"dropped": name, "items": items})
    else:
        out.print(f"deleted {name} with its {items:,} items")
