"""embeddb models backfill: a model for what is stored already."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from embeddb.query import Backfill, BackfillState
from embeddb_client.cli.completion import model_names
from embeddb_client.cli.options import (
    CollectionName,
    Json,
    Server,
    connect,
    err,
    out,
    print_json,
    printable,
)

__all__ = ["backfill"]

POLL_SECONDS = 0.2


def backfill(
    model: Annotated[str, typer.Argument(help="A registered model.", autocompletion=model_names)],
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Show the progress until it ends, or leave it to itself.")
    ] = True,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Have a model embed what a collection holds already; it is added to the collection if need be.

    The server does it in the background, and the other models serve meanwhile. Items that cannot be embedded,
    because their payload is not stored for instance, are listed.
    """
    with connect(server, collection) as client, err.status(f"backfilling {model} ...") as status:
        progress = client.backfill(model)
        while wait and progress.state is BackfillState.RUNNING:
            time.sleep(POLL_SECONDS)
            progress = next(each for each in client.backfills() if each.model == model)
            status.update(f"{model}: {progress.done:,} of {progress.items:,}, {progress.rate:.0f} items/s")
    if as_json:
        print_json(_facts(progress))
    else:
        for missing in progress.listed:
            err.print(printable(f"{missing.id}: {missing.error}"), soft_wrap=True)
        out.print(
            f"{model}: {progress.state}, {progress.embedded:,} of {progress.items:,} items embedded, "
            f"{progress.missing:,} could not be, in {progress.seconds:.1f} s ({progress.rate:.0f} items/s)"
        )
    if progress.error is not None:
        raise progress.error


def _facts(progress: Backfill) -> dict[str, object]:
    return {
        "model": progress.model,
        "state": progress.state,
        "items": progress.items,
        "embedded": progress.embedded,
        "missing": progress.missing,
        "listed": [{"id": each.id, "message": str(each.error)} for each in progress.listed],
        "seconds": round(progress.seconds, 3),
    }
