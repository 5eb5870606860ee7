"""embeddb stats: the server at a glance."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live

from embeddb.query import Stats
from embeddb_client.cli.options import Json, Server, connect, make_table, out, print_json

__all__ = ["stats"]


def stats(
    watch: Annotated[
        float | None, typer.Option("--watch", min=0.1, help="Show them anew every so many seconds.")
    ] = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Show the server's figures."""
    if watch is not None and as_json:
        raise typer.BadParameter("cannot go with --json", param_hint="--watch")
    with connect(server) as client:
        if as_json:
            print_json(asdict(client.stats()))
        elif watch is None:
            out.print(_shown(client.stats(), client.address))
        else:
            with Live(console=out, auto_refresh=False) as live:
                while True:
                    live.update(_shown(client.stats(), client.address), refresh=True)
                    time.sleep(watch)


def _shown(figures: Stats, address: str) -> Group:
    line = (
        f"embeddb {figures.version} on {address}, up {figures.uptime_seconds:.0f} s, "
        f"{figures.bytes_on_disk / 2**20:.1f} MiB on disk"
    )
    columns = ["collection", "items", "model", "vectors", "dimension", "index", "live recall"]
    return Group(line, make_table(columns, list(_rows(figures))))


def _rows(figures: Stats) -> Iterator[tuple[object, ...]]:
    for collection in figures.collections:
        named = (collection.name, f"{collection.items:,}")
        for space in figures.spaces[collection.name]:
            recall = "" if space.recall is None else f"{space.recall:.3f}"
            yield (*named, space.model, f"{space.vectors:,}", space.dimension, space.index, recall)
        if not collection.models:
            yield (*named, "", "", "", "", "")
