"""embeddb contexts: add, list, use, rm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embeddb_client.cli.completion import context_names
from embeddb_client.cli.config import Config, Context
from embeddb_client.cli.options import Json, out, print_json, print_table

app = typer.Typer(help="Named servers, for --server and as its default.")

Name = Annotated[str, typer.Argument(help="The context.", autocompletion=context_names)]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A new name for the context.")],
    server: Annotated[str, typer.Argument(help="The server's host and port.")],
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="The collection that commands are about by default.")
    ] = "default",
    api_key: Annotated[
        Path | None, typer.Option("--api-key", help="A file with the API key, which nobody else can read.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt, as the system's authorities vouch.")] = False,
    ca: Annotated[
        Path | None, typer.Option("--ca", help="Encrypt: who signs the server's certificate (PEM).")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Your own certificate (PEM); needs --key.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Its private key (PEM).")] = None,
    as_json: Json = False,
) -> None:
    """Name a server. The first one named is used from then on."""
    files = ("" if path is None else str(path.absolute()) for path in (api_key, ca, certificate, key))
    key_file, ca_file, certificate_file, private_file = files
    context = Context(server, collection, key_file, tls, ca_file, certificate_file, private_file)
    config = Config.read().add(name, context)
    config.write()
    if as_json:
        print_json({"name": name, **context.written(), "current": config.current == name})
    else:
        out.print(f"{name}: {server}, collection {collection}; kept in {config.path}", soft_wrap=True)


@app.command("list")
def list_contexts(as_json: Json = False) -> None:
    """List the contexts; the current one is marked."""
    config = Config.read()
    if as_json:
        print_json(
            [
                {"name": name, **context.written(), "current": name == config.current}
                for name, context in config.contexts.items()
            ]
        )
        return
    rows = [
        ("*" if name == config.current else "", name, context.server, context.collection)
        for name, context in config.contexts.items()
    ]
    print_table(["", "context", "server", "collection"], rows, none="no contexts")


@app.command()
def use(name: Name, as_json: Json = False) -> None:
    """Use this server where a command names none."""
    config = Config.read().use(name)
    config.write()
    if as_json:
        print_json({"current": name})
    else:
        out.print(f"using {name}: {config.contexts[name].server}")


@app.command()
def rm(name: Name, as_json: Json = False) -> None:
    """Forget a context; the server is not touched."""
    Config.read().without(name).write()
    if as_json:
        print_json({"removed": name})
    else:
        out.print(f"removed {name}")
