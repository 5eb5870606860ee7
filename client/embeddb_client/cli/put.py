"""embeddb put: files into a collection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embeddb.errors import EmbeddbError
from embeddb.query import PutItem, PutResults, PutStatus
from embeddb_client.cli.completion import model_names
from embeddb_client.cli.options import (
    CollectionName,
    Json,
    Server,
    connect,
    err,
    first_model,
    out,
    print_json,
    printable,
)
from embeddb_client.cli.sources import Source, find
from embeddb_client.client import Client

__all__ = ["put", "report"]


def put(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Files, folders that are walked through, lists as .csv or .parquet, .npy vectors."
        ),
    ],
    glob: Annotated[str, typer.Option("--glob", help="Which files of a folder to take.")] = "*",
    prefix: Annotated[str, typer.Option("--prefix", help="What ids begin with.")] = "",
    label: Annotated[
        bool, typer.Option("--label", help="Store the name of each file's folder as metadata 'label'.")
    ] = False,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="A list of the ids and metadata of a .npy file's rows.")
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option("--crop", help="The column of a list with the box that each of its pictures is cut to."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Whose features vectors are; the collection's first by default.",
            autocompletion=model_names,
        ),
    ] = None,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Store images and .txt files; ids are the paths below the given folder.

    A .csv or .parquet file is a list: a column path (of files beside the list), text or vector, a column id
    if that is not to be the path, and all others metadata. A .npy file is a vector a row. With --crop box,
    parts of pictures become items: the column box holds [left, top, right, bottom] in pixels, and is
    metadata too.

    Files that are stored already and have not changed are skipped, so that a load that was cut off can
    simply be run again. Files that cannot be stored are listed at the end; the others are stored.
    """
    sources = find(paths, glob, ids, crop)
    started = time.monotonic()
    with connect(server, collection) as client, _progress(len(sources), hidden=as_json) as progress:
        of_vectors = _of_vectors(client, sources, model)
        task = progress.add_task("put", total=len(sources), rate="")
        done: list[PutResults] = []
        count = 0

        def show(results: PutResults) -> None:
            nonlocal count
            done.append(results)
            count += len(results)
            rate = count / (time.monotonic() - started)
            progress.update(task, completed=count, rate=f"{rate:.0f} items/s")

        def tell_how_far() -> None:
            progress.stop()
            report(PutResults.joined(done), time.monotonic() - started, as_json, of=len(sources))

        items = _items(sources, prefix, label, of_vectors, show)
        try:
            stopped = _load(partial(client.put_many, on_progress=show), items)
        except EmbeddbError:
            tell_how_far()
            raise
        if stopped:
            tell_how_far()
            err.print("stopped; run it again to go on: what is stored already costs nothing")
            raise typer.Exit(130)
    results = PutResults.joined(done)
    report(results, time.monotonic() - started, as_json)
    if results.failed:
        raise typer.Exit(1)


def _load(put_many: Callable[[Iterator[PutItem]], object], items: Iterator[PutItem]) -> bool:
    """Put items until the user interrupts; what is under way then is put all the same.

    Not on the main thread, to which interrupts come: in the midst of gRPC one may leave a lock held for ever,
    for which closing the client then waits.

    Returns:
        Whether it was interrupted.
    """
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(put_many, takewhile(lambda _: not stopped.is_set(), items))
        try:
            loading.result()
        except KeyboardInterrupt:
            stopped.set()
            loading.result()
    return stopped.is_set()


def _of_vectors(client: Client, sources: Mapping[str, Source], model: str | None) -> str:
    """The model whose features the sources' vectors are; nothing where there are none."""
    if any(source.vector is not None for source in sources.values()):
        return model or first_model(client)
    if model is not None:
        allowed = "says whose features vectors are, and there are none: a collection's models embed all else"
        raise typer.BadParameter(allowed, param_hint="--model")
    return ""


def _items(
    sources: Mapping[str, Source],
    prefix: str,
    label: bool,
    of_vectors: str,
    show: Callable[[PutResults], None],
) -> Iterator[PutItem]:
    """Items of the sources; what cannot be made an item is shown as done."""
    for name, source in sources.items():
        labels = {"label": source.file.absolute().parent.name} if label and source.file else {}
        try:
            features = {} if source.vector is None else {of_vectors: source.vector}
            yield PutItem(prefix + name, source.content(), {**labels, **source.metadata}, features)
        except EmbeddbError as error:
            show(PutResults([prefix + name], [PutStatus.FAILED], {0: error}))


def _progress(total: int, *, hidden: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=hidden or not err.is_terminal)


def report(results: PutResults, seconds: float, as_json: bool, *, of: int | None = None) -> None:
    """Print what became of items; of how many, where it is not all of them."""
    counts = results.counts()
    failed = [(results.ids[place], error) for place, error in sorted(results.errors.items())]
    if as_json:
        summary: dict[str, object] = {str(status): counts[status] for status in PutStatus}
        summary["items"] = len(results) if of is None else of
        summary["seconds"] = round(seconds, 3)
        summary["errors"] = [_error(item_id, error) for item_id, error in failed]
        print_json(summary)
    else:
        for item_id, error in failed:
            err.print(printable(f"{item_id}: {error}"), soft_wrap=True)
        parts = [f"{counts[status]:,} {status}" for status in PutStatus if counts[status]]
        items = f"{len(results):,} items" if of is None else f"{len(results):,} of {of:,} items"
        rate = len(results) / seconds
        out.print(f"{items}: {', '.join(parts or ['none'])}, in {seconds:.1f} s ({rate:.0f} items/s)")


def _error(item_id: str, error: EmbeddbError) -> dict[str, object]:
    return {"id": item_id, "error": type(error).__name__, "message": str(error), **error.details}
