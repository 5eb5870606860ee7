"""embeddb map: where items lie in two dimensions, to look at."""

from __future__ import annotations

import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from embeddb.questions import (
    DEFAULT_MIN_DISTANCE,
    DEFAULT_SAMPLE,
    Clusters,
    KMeans,
    Map,
    Pca,
    Umap,
)
from embeddb.questions.mapping import DEFAULT_NEIGHBOURS
from embeddb_client.cli.options import (
    Center,
    CollectionName,
    Filter,
    Json,
    Model,
    Server,
    connect,
    err,
    first_model,
    print_json,
    print_table,
)
from embeddb_client.cli.progress import following
from embeddb_client.map_page import write_map
from embeddb_client.projector import write_projector

__all__ = ["map_items"]


class By(StrEnum):
    """How items are laid out."""

    PCA = "pca"
    UMAP = "umap"


def map_items(
    by: Annotated[By, typer.Option("--by", help="How items are laid out.")] = By.PCA,
    neighbours: Annotated[
        int | None,
        typer.Option("--neighbours", help=f"How many UMAP keeps near; {DEFAULT_NEIGHBOURS} by default."),
    ] = None,
    min_distance: Annotated[
        float | None,
        typer.Option("--min-distance", help=f"How near UMAP puts points; {DEFAULT_MIN_DISTANCE} by default."),
    ] = None,
    sample: Annotated[int, typer.Option("--sample", help="How many items at most.")] = DEFAULT_SAMPLE,
    clusters: Annotated[
        int | None, typer.Option("--clusters", help="Colour by so many clusters, found by k-means.")
    ] = None,
    color: Annotated[str, typer.Option("--color", help="Colour by this key of the metadata.")] = "",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with thumbnails to pan over and zoom into.")
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Show the page in a browser; needs --html.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="Write the files of TensorBoard's projector.")
    ] = None,
    where: Filter = "",
    model: Model = None,
    center: Center = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Lay items out in two dimensions: as coordinates, as a page, or as files for TensorBoard."""
    if html is None:
        for option, given in {"--open": open_page, "--color": color}.items():
            if given:
                raise typer.BadParameter("needs --html FILE", param_hint=option)
    if clusters is not None and html is None and tensorboard is None:
        raise typer.BadParameter("needs --html or --tensorboard", param_hint="--clusters")
    layout = _layout(by, neighbours, min_distance)
    with connect(server, collection) as client:
        with following(hidden=as_json) as show:
            found = client.ask(Map(layout, where, sample, center, model), on_progress=show)
            labels = None
            if clusters is not None:
                asked = Clusters(KMeans(clusters), where, center=center, model=model)
                labels = client.ask(asked, on_progress=show).labels
        if html is not None:
            title = f"{client.name}: {len(found.ids):,} of {found.items:,} items by {by.value.upper()}"
            write_map(html, title, client, found, color=color, labels=labels)
            err.print(f"wrote {html}", soft_wrap=True)
        if tensorboard is not None:
            shown = model or first_model(client)
            count = write_projector(tensorboard, client, found.ids, shown, labels=labels)
            look = f"tensorboard --logdir {tensorboard}"
            err.print(f"wrote {count:,} items to {tensorboard}; look: {look}", soft_wrap=True)
    if open_page and html is not None:
        webbrowser.open(html.resolve().as_uri())
    points = found.points.tolist()
    if as_json:
        places = dict(zip(found.ids, points, strict=True))
        print_json({"items": found.items, "explained": found.explained, "points": places})
    elif html is None and tensorboard is None:
        rows = [(i, f"{x:.4f}", f"{y:.4f}") for i, (x, y) in zip(found.ids, points, strict=True)]
        print_table(["item", "x", "y"], rows)


def _layout(by: By, neighbours: int | None, min_distance: float | None) -> Pca | Umap:
    """How items are laid out, with what was told of it."""
    if by is By.UMAP:
        return Umap(
            DEFAULT_NEIGHBOURS if neighbours is None else neighbours,
            DEFAULT_MIN_DISTANCE if min_distance is None else min_distance,
        )
    for option, given in {"--neighbours": neighbours, "--min-distance": min_distance}.items():
        if given is not None:
            raise typer.BadParameter("needs --by umap", param_hint=option)
    return Pca()
