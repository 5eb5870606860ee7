"""The command `embeddb`: wires the commands together and says errors in one line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from embeddb import __version__
from embeddb.errors import EmbeddbError
from embeddb_client.cli import collections, contexts, keys, models
from embeddb_client.cli.grouping import cluster, dedupe
from embeddb_client.cli.items import get, ls, rm
from embeddb_client.cli.mapping import map_items
from embeddb_client.cli.options import err, printable
from embeddb_client.cli.parquet import export_file, import_file
from embeddb_client.cli.put import put
from embeddb_client.cli.questions import calibrate, classify, compare, evaluate
from embeddb_client.cli.search import search
from embeddb_client.cli.stats import stats
from embeddb_client.cli.upkeep import backup, verify

__all__ = ["app", "main"]

TAKE_EXPRESSIONS = ("search", "compare", "classify")
NEGATIVE = re.compile(r"""-\s*(?:[@#"'(]|[\d.]+\s*\*|(?:unit|between|Image|Item|Text|Vector)\s*\()""")

app = typer.Typer()
app.add_typer(models.app, name="models")
app.add_typer(collections.app, name="collections")
app.add_typer(contexts.app, name="contexts")
app.add_typer(keys.app, name="keys")
for command in (put, search, compare, calibrate, classify, evaluate, dedupe, cluster, get, ls, rm):
    app.command()(command)
app.command("map")(map_items)
app.command()(stats)
app.command()(backup)
app.command()(verify)
app.command("export")(export_file)
app.command("import")(import_file)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"embeddb {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the client's version."),
    ] = False,
) -> None:
    """Talk to an embeddb server: a database whose columns are neural networks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; an error is one line on standard error.

    Returns:
        The exit code: 0, 1 where the command failed, 2 where the line itself is wrong, 130 on Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] and given[0] in TAKE_EXPRESSIONS:
        # A space is nothing to an expression, and keeps one that begins with a minus from being an option.
        given = [f" {each}" if NEGATIVE.match(each) else each for each in given]
    try:
        code = app(given or ["--help"], prog_name="embeddb", standalone_mode=False)
        sys.stdout.flush()
    except EmbeddbError as error:
        return _failed(str(error))
    except typer.TyperException as error:
        return _failed(error.format_message(), error.exit_code)
    except typer.Abort as stopped:
        # A prompt makes the same of Ctrl-C as of a "no".
        interrupted = isinstance(stopped.__context__, KeyboardInterrupt)
        return _failed("stopped, nothing was done", 130 if interrupted else 1)
    except BrokenPipeError:
        # Whoever read the output has had enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(str(error))
    return int(code or 0)


def _failed(message: str, code: int = 1) -> int:
    err.print(f"embeddb: {printable(' '.join(message.split()))}", soft_wrap=True)
    return code
