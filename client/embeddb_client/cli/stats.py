"""embeddb stats: the server at a glance."""

from __future__ import annotations

from dataclasses import asdict

from embeddb_client.cli.options import Json, Server, connect, out, print_json, print_table

__all__ = ["stats"]


def stats(server: Server = None, as_json: Json = False) -> None:
    """Show the server's figures."""
    with connect(server) as client:
        figures = client.stats()
    if as_json:
        print_json(asdict(figures))
        return
    out.print(
        f"embeddb {figures.version} on {client.address}, up {figures.uptime_seconds:.0f} s, "
        f"{figures.bytes_on_disk / 2**20:.1f} MiB on disk",
    )
    rows: list[tuple[object, ...]] = []
    for collection in figures.collections:
        for space in figures.spaces[collection.name]:
            rows.append(
                (
                    collection.name,
                    f"{collection.items:,}",
                    space.model,
                    f"{space.vectors:,}",
                    space.dimension,
                    space.index,
                )
            )
        if not collection.models:
            rows.append((collection.name, f"{collection.items:,}", "", "", "", ""))
    print_table(["collection", "items", "model", "vectors", "dimension", "index"], rows)
