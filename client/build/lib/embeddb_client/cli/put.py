"""embeddb put: files into a collection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embeddb.errors import EmbeddbError
from embeddb.query import Image, PutItem, PutResult, PutStatus, Text
from embeddb_client.cli.options import CollectionName, Json, Server, connect, err, out, print_json
from embeddb_client.client import DEFAULT_ADDRESS

__all__ = ["put"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
TEXT_SUFFIXES = frozenset({".txt"})


def put(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders that are walked through.")],
    glob: Annotated[str, typer.Option("--glob", help="Which files of a folder to take.")] = "*",
    prefix: Annotated[str, typer.Option("--prefix", help="What ids begin with.")] = "",
    label: Annotated[
        bool, typer.Option("--label", help="Store the name of each file's folder as metadata 'label'.")
    ] = False,
    collection: CollectionName = "default",
    server: Server = DEFAULT_ADDRESS,
    as_json: Json = False,
) -> None:
    """Store images and .txt files; ids are the paths below the given folder.

    Files that are stored already and have not changed are skipped, so that a load that was cut off can
    simply be run again. Files that cannot be stored are listed at the end; the others are stored.
    """
    files = [found for path in paths for found in _files(path, glob)]
    if not files:
        raise typer.BadParameter(f"no images or .txt files match {glob!r}", param_hint="PATHS")
    started = time.monotonic()
    with connect(server, collection) as client, _progress(len(files), hidden=as_json) as progress:
        task = progress.add_task("put", total=len(files), rate="")

        def show(done: Sequence[PutResult]) -> None:
            finished = progress.tasks[0].completed + len(done)
            rate = finished / (time.monotonic() - started)
            progress.update(task, completed=finished, rate=f"{rate:.0f} items/s")

        results = client.put_many(_items(files, prefix, label), on_progress=show)
    _report(results, time.monotonic() - started, as_json)


def _files(path: Path, glob: str) -> Iterator[tuple[Path, str]]:
    """The files that a path stands for, with their ids."""
    if path.is_dir():
        for file in sorted(path.rglob(glob)):
            if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES | TEXT_SUFFIXES:
                yield file, file.relative_to(path).as_posix()
    elif path.exists():
        yield path, path.name
    else:
        raise typer.BadParameter(f"{str(path)!r} given, there is no such file or folder", param_hint="PATHS")


def _items(files: Sequence[tuple[Path, str]], prefix: str, label: bool) -> Iterator[PutItem]:
    for file, item_id in files:
        is_text = file.suffix.lower() in TEXT_SUFFIXES
        # Images are read only when their batch is sent.
        content = Text(file.read_text()) if is_text else Image(file)
        yield PutItem(prefix + item_id, content, {"label": file.absolute().parent.name} if label else {})


def _progress(total: int, *, hidden: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=hidden or not err.is_terminal)


def _report(results: Sequence[PutResult], seconds: float, as_json: bool) -> None:
    counts = Counter(result.status for result in results)
    failed = [(result.id, result.error) for result in results if result.error is not None]
    if as_json:
        summary: dict[str, object] = {str(status): counts[status] for status in PutStatus}
        summary["seconds"] = round(seconds, 3)
        summary["errors"] = [_error(item_id, error) for item_id, error in failed]
        print_json(summary)
    else:
        for item_id, error in failed:
            err.print(f"{item_id}: {error}", markup=False, highlight=False, soft_wrap=True)
        parts = ", ".join(f"{counts[status]:,} {status}" for status in PutStatus if counts[status])
        rate = len(results) / seconds
        out.print(
            f"{len(results):,} items: {parts}, in {seconds:.1f} s ({rate:.0f} items/s)", highlight=False
        )
    if failed:
        raise typer.Exit(1)


def _error(item_id: str, error: EmbeddbError) -> dict[str, object]:
    return {"id": item_id, "error": type(error).__name__, "message": str(error), **error.details}
