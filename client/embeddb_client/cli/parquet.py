"""embeddb export and import: a collection as a Parquet file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from embeddb.errors import FailedPreconditionError
from embeddb_client.cli.options import CollectionName, Json, Server, connect, out, print_json
from embeddb_client.cli.put import report

__all__ = ["export_file", "import_file"]

ToFile = Annotated[Path, typer.Argument(metavar="FILE", help="The Parquet file to write.")]
FromFile = Annotated[Path, typer.Argument(metavar="FILE", help="A Parquet file that export wrote.")]


def export_file(
    file: ToFile,
    payloads: Annotated[bool, typer.Option(help="Whether to write images and texts too.")] = True,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Write a collection to a Parquet file: ids, metadata, features of each model, and payloads."""
    try:
        from embeddb.parquet import export_collection
    except ImportError as error:
        raise FailedPreconditionError(str(error)) from None
    with connect(server, collection) as client:
        count = export_collection(client, file, payloads=payloads)
    if as_json:
        print_json({"items": count, "file": str(file), "bytes": file.stat().st_size})
    else:
        out.print(f"{count:,} items in {file}, {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True)


def import_file(
    file: FromFile,
    features: Annotated[
        bool, typer.Option(help="Whether to take the file's features rather than embed its payloads.")
    ] = True,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Put the items of a Parquet file into a collection; items of the same ids are replaced."""
    try:
        from embeddb.parquet import import_collection
    except ImportError as error:
        raise FailedPreconditionError(str(error)) from None
    started = time.monotonic()
    with connect(server, collection) as client:
        results = import_collection(client, file, features=features)
    report(results, time.monotonic() - started, as_json)
    if results.failed:
        raise typer.Exit(1)
