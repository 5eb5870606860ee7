"""embeddb keys: add, list, rm."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embeddb_client.cli.completion import collection_names
from embeddb_client.cli.options import Json, Server, connect, err, out, print_json, print_table

app = typer.Typer(help="The API keys of a server.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A new name for the key.")],
    role: Annotated[
        str, typer.Option("--role", help="read, write or admin; each may do what those before it may.")
    ] = "read",
    collections: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "-c",
            help="One that it opens; may be repeated. Every one, and the whole server, by default.",
            autocompletion=collection_names,
        ),
    ] = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Make a key and print its secret, which is stored nowhere.

    With the first key, nobody may call without one any more.
    """
    with connect(server) as client:
        secret = client.create_key(name, role, collections or [])
    if as_json:
        print_json({"name": name, "secret": secret})
    else:
        out.print(secret, soft_wrap=True)
        err.print(f"{name}: keep it in a file that nobody else can read, for embeddb contexts add --api-key")


@app.command("list")
def list_keys(server: Server = None, as_json: Json = False) -> None:
    """List the keys, without their secrets."""
    with connect(server) as client:
        keys = client.keys()
    if as_json:
        print_json([asdict(key) for key in keys])
        return
    rows = [(key.name, key.role, ", ".join(key.collections) or "all", key.created) for key in keys]
    print_table(["key", "role", "collections", "created"], rows, none="no keys")


@app.command()
def rm(
    name: Annotated[str, typer.Argument(help="The key.")], server: Server = None, as_json: Json = False
) -> None:
    """Make a key worthless, at once."""
    with connect(server) as client:
        client.delete_key(name)
    if as_json:
        print_json({"removed": name})
    else:
        out.print(f"removed {name}")
