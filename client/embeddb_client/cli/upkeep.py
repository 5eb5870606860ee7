"""embeddb backup and verify: looking after a server's data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from embeddb.questions import OnProgress, Progress
from embeddb_client.cli.options import Json, Server, connect, err, out, print_json, printable

__all__ = ["backup", "verify"]


def backup(
    name: Annotated[str, typer.Argument(help="Of the backup; the time in UTC by default.")] = "",
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Copy the server's data while it serves, into the folder backups/ of its data folder.

    `embeddb-server restore` makes a data folder of it.
    """
    with connect(server) as client, _shown("backing up") as told:
        made = client.backup(name, on_progress=told)
    if as_json:
        print_json(asdict(made))
    else:
        out.print(f"backups/{made.name}: {', '.join(made.collections)}", soft_wrap=True)


def verify(server: Server = None, as_json: Json = False) -> None:
    """Check all that a server stores, while it serves; exit with 1 if something is wrong.

    `embeddb-server verify` checks the index files too, and with --repair mends what can be mended, once the
    server is stopped.
    """
    with connect(server) as client, _shown("checking") as told:
        findings = client.verify_data(on_progress=told)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            err.print(printable(str(finding)), soft_wrap=True)
        remedy = "stop the server, and `embeddb-server verify --repair` does what each line says"
        summary = f"{len(findings)} problem(s); {remedy}" if findings else "everything is sound"
        out.print(summary, soft_wrap=True)
    if findings:
        raise typer.Exit(1)


@contextmanager
def _shown(what: str) -> Iterator[OnProgress]:
    """Shows on a terminal how far the server is."""
    with err.status(f"{what} ...") as status:

        def told(progress: Progress) -> None:
            status.update(f"{progress.stage}: {progress.done:,} of {progress.total:,} collections")

        yield told
