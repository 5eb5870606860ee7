"""embeddb dedupe and cluster: which items belong together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embeddb.questions import (
    DEFAULT_CENTRAL,
    DEFAULT_DUPLICATE,
    DEFAULT_ITERATIONS,
    DEFAULT_MIN_SIZE,
    Clusters,
    Duplicates,
    Hdbscan,
    KMeans,
)
from embeddb_client.cli.options import (
    Center,
    CollectionName,
    Filter,
    Json,
    Model,
    Server,
    connect,
    out,
    print_json,
    print_table,
)
from embeddb_client.cli.progress import following

__all__ = ["cluster", "dedupe"]


def dedupe(
    threshold: Annotated[
        float, typer.Option("--threshold", help="The similarity from which on two are nearly the same.")
    ] = DEFAULT_DUPLICATE,
    where: Filter = "",
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete all items of each group but the oldest; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking; needs --delete.")] = False,
    model: Model = None,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """List the items that are nearly the same, a group a line, the oldest first.

    Two items are in one group if they are near enough or if others join them: look before you --delete. What
    has changed by the time of your yes, so that it would not be deleted any more, is left.
    """
    if yes and not delete:
        raise typer.BadParameter("needs --delete", param_hint="--yes")
    if delete and as_json and not yes:
        raise typer.BadParameter("needs --yes with --json, which asks nothing", param_hint="--delete")
    with connect(server, collection) as client:

        def find() -> list[list[str]]:
            with following(hidden=as_json) as show:
                return client.ask(Duplicates(threshold, where, model), on_progress=show)

        groups = find()
        if not as_json:
            print_table(["items", "ids"], [(len(group), ", ".join(group)) for group in groups])
        surplus, deleted = _surplus(groups), 0
        if delete and surplus:
            if not yes:
                typer.confirm(f"delete {len(surplus):,} items?", abort=True, err=True)
                # To answer takes as long as it takes, and somebody may have replaced what was shown.
                still = set(_surplus(find()))
                surplus = [item_id for item_id in surplus if item_id in still]
            deleted = sum(error is None for error in client.delete_many(surplus))
    if as_json:
        print_json({"groups": groups, "deleted": deleted} if delete else groups)
    elif delete:
        out.print(f"deleted {deleted:,}")


def _surplus(groups: list[list[str]]) -> list[str]:
    """All items of each group but the oldest."""
    return [item_id for group in groups for item_id in group[1:]]


def cluster(
    k: Annotated[
        int | None,
        typer.Option("-k", help="So many clusters, by k-means; without it HDBSCAN finds how many."),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option("--iterations", help=f"Of k-means, at most; {DEFAULT_ITERATIONS} by default."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the chance in k-means.")] = None,
    min_size: Annotated[
        int | None,
        typer.Option("--min-size", help=f"HDBSCAN's smallest cluster; {DEFAULT_MIN_SIZE} by default."),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option("--neighbours", help="How many items near make a dense place; --min-size by default."),
    ] = None,
    field: Annotated[
        str, typer.Option("--field", help="Store each item's cluster under this key of its metadata.")
    ] = "",
    central: Annotated[
        int, typer.Option("--central", help="How many items of each cluster to name.")
    ] = DEFAULT_CENTRAL,
    where: Filter = "",
    model: Model = None,
    center: Center = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Find out which items belong together: -k clusters by k-means, or as many as there are by HDBSCAN."""
    of_k_means = {"--iterations": iterations, "--seed": seed}
    of_density = {"--min-size": min_size, "--neighbours": neighbours}
    for option, given in (of_k_means if k is None else of_density).items():
        if given is not None:
            hint = "needs -k" if k is None else "cannot be combined with -k"
            raise typer.BadParameter(hint, param_hint=option)
    by: KMeans | Hdbscan
    if k is None:
        by = Hdbscan(DEFAULT_MIN_SIZE if min_size is None else min_size, neighbours)
    else:
        by = KMeans(k, DEFAULT_ITERATIONS if iterations is None else iterations, seed or 0)
    question = Clusters(by, where, field, central, center, model)
    with connect(server, collection) as client, following(hidden=as_json) as show:
        found = client.ask(question, on_progress=show)
    if as_json:
        clusters = [asdict(each) for each in found.clusters]
        figures = {"noise": found.noise, "inertia": found.inertia, "written": found.written}
        print_json({"clusters": clusters, **figures, "labels": found.labels})
        return
    print_table(
        ["cluster", "items", "most central"],
        [(each.label, f"{each.size:,}", ", ".join(each.central)) for each in found.clusters],
    )
    noise = f", {found.noise:,} in none" if isinstance(by, Hdbscan) else ""
    inertia = "" if found.inertia is None else f", inertia {found.inertia:.4g}"
    stored = f"; {found.written:,} hold theirs as {field!r}" if field else ""
    out.print(f"{len(found.labels):,} items, {len(found.clusters):,} clusters{noise}{inertia}{stored}")
