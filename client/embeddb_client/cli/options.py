"""Options that many commands share, and how they print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from embeddb.errors import FailedPreconditionError
from embeddb.query import check_name
from embeddb_client.cli.completion import collection_names, context_names, model_names
from embeddb_client.cli.config import Config
from embeddb_client.client import Client

__all__ = [
    "Center",
    "CollectionName",
    "Filter",
    "Json",
    "Model",
    "Server",
    "connect",
    "err",
    "first_model",
    "in_short",
    "json_or_text",
    "make_table",
    "out",
    "pairs",
    "print_json",
    "print_table",
    "printable",
    "shell_word",
]

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="EMBEDDB_SERVER",
        help="The server's host and port, or the name of a context; the current context by default.",
        autocompletion=context_names,
    ),
]
CollectionName = Annotated[
    str | None,
    typer.Option(
        "--collection",
        "-c",
        help="The collection; the context's by default.",
        autocompletion=collection_names,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="In whose space; the collection's first by default.",
        autocompletion=model_names,
    ),
]
Center = Annotated[bool, typer.Option("--center", help="Subtract the mean of each modality first.")]
Filter = Annotated[str, typer.Option("--filter", "-f", help="Only the items that satisfy this.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]

# What is printed is data: nothing in it is markup, an emoji's name or a number to colour.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)


def connect(server: str | None, collection: str | None = None) -> Client:
    """A client for one command: of a context or an address, the current context's for None."""
    context = Config.read().find(server)
    named = context.collection if collection is None else check_name("--collection", collection)
    return Client(context.server, collection=named, access=context.access())


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    # The name of a file need not be UTF-8; what is not becomes JSON's own \udc80.
    typer.echo(text.encode("utf-8", "backslashreplace").decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, none: str = "none") -> None:
    """Print rows as a table, or what there is none of; see `make_table`."""
    out.print(make_table(columns, rows) if rows else none)


def make_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Rows as a table, without the columns in which no row has anything to say."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    kept = [place for place in range(len(columns)) if any(str(row[place]) for row in rows)]
    for place in kept:
        table.add_column(columns[place], overflow="fold")
    for row in rows:
        table.add_row(*(printable(str(row[place])) for place in kept))
    return table


def first_model(client: Client) -> str:
    """The model that a collection means where none is named.

    Raises:
        FailedPreconditionError: it has none.
    """
    models = client.info().models
    if not models:
        raise FailedPreconditionError(f"collection {client.name!r} has no model whose features vectors are")
    return models[0]


def in_short(metadata: Mapping[str, Any]) -> str:
    """Metadata as a table shows it: JSON on one line, nothing for none."""
    return json.dumps(dict(metadata), ensure_ascii=False) if metadata else ""


def printable(text: str) -> str:
    """The text with control characters spelled out: ids and metadata are what other people wrote."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shell_word(text: str) -> str:
    """The text as one word of a shell, which can be copied: control characters as bash and zsh spell them."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = text.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{printable(escaped)}'"


def pairs(values: Sequence[str], option: str) -> Mapping[str, Any]:
    """Read key=value options; a value that is JSON is taken as JSON, any other as a string."""
    read: dict[str, Any] = {}
    for each in values:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{each!r} given, must be key=value", param_hint=option)
        read[key] = json_or_text(value)
    return read


def _no_constant(name: str) -> NoReturn:
    """Python reads NaN and Infinity, which JSON has not."""
    raise ValueError(name)


def json_or_text(typed: str) -> Any:
    """What is JSON as JSON, so that 20 is a number; anything else as the text that it is."""
    try:
        return json.loads(typed, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return typed
