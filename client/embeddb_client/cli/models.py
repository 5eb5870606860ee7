"""embeddb models: add, backfill, drop, list, load, unload, rm."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from embeddb.errors import InvalidArgumentError
from embeddb.query import ModelInfo, Precision, RunOptions
from embeddb_client.cli.backfill import backfill
from embeddb_client.cli.completion import collection_names, model_names
from embeddb_client.cli.options import (
    CollectionName,
    Json,
    Server,
    connect,
    err,
    out,
    pairs,
    print_json,
    print_table,
)

app = typer.Typer(help="The models of a server.")
app.command()(backfill)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A new name for the model.")],
    loader: Annotated[
        str | None,
        typer.Option("--loader", "-l", help="How it is loaded: open_clip, timm and so on (docs/models.md)."),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="A key of the spec: architecture=resnet50.")
    ] = None,
    spec: Annotated[
        str | None, typer.Option("--spec", help="The whole spec as JSON, or @FILE that holds it.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", help="Collections whose items it embeds from now on.", autocompletion=collection_names
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        Precision, typer.Option("--precision", help="What it calculates in; auto measures what is fastest.")
    ] = Precision.AUTO,
    lazy: Annotated[
        bool, typer.Option("--lazy", help="Load it at its first use after a start of the server.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Let torch.compile translate it where that is faster."),
    ] = False,
    unload_after: Annotated[
        float | None,
        typer.Option("--unload-after", help="Free its memory after so many seconds without use."),
    ] = None,
    only_register: Annotated[bool, typer.Option("--only-register", help="Add it to no collection.")] = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Register a model and add it to collections (the context's by default).

    Without --loader and --spec the name is the loader's: `embeddb models add starter`.
    """
    if only_register and to:
        raise typer.BadParameter("cannot go with --to", param_hint="--only-register")
    whole = _spec(spec) | dict(pairs(values or [], "--set"))
    if loader is not None or "loader" not in whole:
        whole["loader"] = loader or name
    options = RunOptions(device, precision, lazy, compiled, unload_after)
    with connect(server) as client:
        with err.status(f"loading {name} ..."):
            info = client.register_model(name, whole, options)
        collections = [] if only_register else to or [client.name]
        for collection in collections:
            client.collection(collection).add_model(name)
    if as_json:
        print_json(asdict(info) | {"collections": collections})
    else:
        used = f"; embeds the items of {', '.join(collections)}" if collections else ""
        out.print(f"{name}: {_describe(info)}{used}")


@app.command()
def drop(
    model: Annotated[str, typer.Argument(help="A model of the collection.", autocompletion=model_names)],
    replaced_by: Annotated[
        str | None,
        typer.Option("--replaced-by", help="Another one that takes its place.", autocompletion=model_names),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if items are lost to searches that only it has embedded.")
    ] = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Drop a model with its features from a collection; it stays registered."""
    with connect(server, collection) as client:
        client.drop_model(model, replaced_by=replaced_by, force=force)
        info = client.info()
    if as_json:
        print_json(asdict(info))
    else:
        out.print(f"{info.name}: models {', '.join(info.models) or 'none'}")


@app.command("list")
def list_models(server: Server = None, as_json: Json = False) -> None:
    """List the models."""
    with connect(server) as client:
        models = client.models()
    if as_json:
        print_json([asdict(info) for info in models])
        return
    rows = [
        (
            info.name,
            info.spec["loader"],
            " ".join(info.modalities),
            info.dimension,
            info.labels or "",
            _how(info),
            info.fingerprint[:12],
        )
        for info in models
    ]
    columns = ["model", "loader", "encodes", "dimension", "classes", "runs", "fingerprint"]
    print_table(columns, rows, none="no models")


@app.command()
def load(
    name: Annotated[str, typer.Argument(help="The model.", autocompletion=model_names)],
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Load a model that is not loaded, even where that failed before."""
    with connect(server) as client, err.status(f"loading {name} ..."):
        info = client.load_model(name)
    _print(info, as_json)


@app.command()
def unload(
    name: Annotated[str, typer.Argument(help="The model.", autocompletion=model_names)],
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Free a model's memory; its next use loads it again."""
    with connect(server) as client:
        info = client.unload_model(name)
    _print(info, as_json)


@app.command()
def rm(
    names: Annotated[
        list[str], typer.Argument(help="Models that no collection uses.", autocompletion=model_names)
    ],
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Unload and forget models."""
    with connect(server) as client:
        for name in names:
            client.remove_model(name)
    if as_json:
        print_json({"removed": names})
    else:
        out.print(f"removed {', '.join(names)}")


def _spec(text: str | None) -> dict[str, object]:
    if text is None:
        return {}
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArgumentError("--spec", text, f"must be JSON, or @FILE that holds it: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgumentError("--spec", text, "must be a JSON object")
    return value


def _print(info: ModelInfo, as_json: bool) -> None:
    if as_json:
        print_json(asdict(info))
    else:
        out.print(f"{info.name}: {_how(info)}")


def _how(info: ModelInfo) -> str:
    if not info.modalities:
        return "nothing to run"
    if info.refusal is not None:
        return f"cannot be loaded: {info.refusal}"
    if (running := info.running) is None:
        return "not loaded"
    compiled = ", compiled" if running.compiled else ""
    return f"{running.device}, {running.precision}{compiled}, {running.bytes / 1e6:,.0f} MB"


def _describe(info: ModelInfo) -> str:
    encodes = " and ".join(f"{modality}s" for modality in info.modalities) or "nothing"
    classes = f", {info.labels} classes" if info.labels else ""
    return f"encodes {encodes} to {info.dimension} dimensions{classes}"
