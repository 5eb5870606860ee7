"""The command `embeddb`: wires the commands together and says errors in one line."""

from __future__ import annotations

import sys

import typer

from embeddb import __version__
from embeddb.errors import EmbeddbError
from embeddb_client.cli import collections, models
from embeddb_client.cli.items import get, ls, rm
from embeddb_client.cli.options import err
from embeddb_client.cli.put import put
from embeddb_client.cli.search import search
from embeddb_client.cli.stats import stats

__all__ = ["app", "main"]

app = typer.Typer(
    name="embeddb",
    help="Talk to an embeddb server: a database whose columns are neural networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
app.add_typer(collections.app, name="collections")
for command in (put, search, get, ls, rm, stats):
    app.command()(command)


@app.command()
def version() -> None:
    """Print the version of the client."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line; an error is one line on standard error, and the exit code is 1."""
    try:
        app()
    except EmbeddbError as error:
        err.print(f"embeddb: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read the output has had enough.
        sys.exit(1)
