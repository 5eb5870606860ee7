"""embeddb put: files into a collection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.query import Image, PutItem, PutResult, PutStatus, Text
from embeddb_client.cli.options import CollectionName, Json, Server, connect, err, out, print_json

__all__ = ["put", "report"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
TEXT_SUFFIXES = frozenset({".txt"})


def put(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders that are walked through.")],
    glob: Annotated[str, typer.Option("--glob", help="Which files of a folder to take.")] = "*",
    prefix: Annotated[str, typer.Option("--prefix", help="What ids begin with.")] = "",
    label: Annotated[
        bool, typer.Option("--label", help="Store the name of each file's folder as metadata 'label'.")
    ] = False,
    collection: CollectionName = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Store images and .txt files; ids are the paths below the given folder.

    Files that are stored already and have not changed are skipped, so that a load that was cut off can
    simply be run again. Files that cannot be stored are listed at the end; the others are stored.
    """
    files = _with_ids(paths, glob)
    started = time.monotonic()
    with connect(server, collection) as client, _progress(len(files), hidden=as_json) as progress:
        task = progress.add_task("put", total=len(files), rate="")

        def show(done: Sequence[PutResult]) -> None:
            finished = progress.tasks[0].completed + len(done)
            rate = finished / (time.monotonic() - started)
            progress.update(task, completed=finished, rate=f"{rate:.0f} items/s")

        unread: list[PutResult] = []
        results = client.put_many(_items(files, prefix, label, unread, show), on_progress=show)
    report(results + unread, time.monotonic() - started, as_json)


def _with_ids(paths: Sequence[Path], glob: str) -> dict[str, Path]:
    """The files that paths stand for, by id: the part of the file's path below the path given."""
    files: dict[str, Path] = {}
    for path in paths:
        for item_id, file in _files(path, glob):
            if files.setdefault(item_id, file) != file:
                both = f"{str(files[item_id])!r} and {str(file)!r}"
                raise typer.BadParameter(
                    f"{both} have the same id {item_id!r}; put them one by one, with --prefix",
                    param_hint="PATHS",
                )
    if not files:
        raise typer.BadParameter(f"no images or .txt files match {glob!r}", param_hint="PATHS")
    return files


def _files(path: Path, glob: str) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        for file in sorted(path.rglob(glob)):
            if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES | TEXT_SUFFIXES:
                yield file.relative_to(path).as_posix(), file
    elif path.exists():
        yield path.name, path
    else:
        raise typer.BadParameter(f"{str(path)!r} given, there is no such file or folder", param_hint="PATHS")


def _items(
    files: Mapping[str, Path],
    prefix: str,
    label: bool,
    unread: list[PutResult],
    show: Callable[[Sequence[PutResult]], None],
) -> Iterator[PutItem]:
    """Items of the files; what cannot be made an item is added to `unread`, and shown as done."""
    for name, file in files.items():
        try:
            metadata = {"label": file.absolute().parent.name} if label else {}
            yield PutItem(prefix + name, _content(file), metadata)
        except EmbeddbError as error:
            unread.append(PutResult(prefix + name, PutStatus.FAILED, error))
            show(unread[-1:])


def _content(file: Path) -> Image | Text:
    if file.suffix.lower() not in TEXT_SUFFIXES:
        return Image(file)  # Read when its batch is sent, not before.
    try:
        return Text(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError("text", str(file), f"cannot be read: {error}") from None


def _progress(total: int, *, hidden: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, disable=hidden or not err.is_terminal)


def report(results: Sequence[PutResult], seconds: float, as_json: bool) -> None:
    """Print what became of items; exit with 1 if some failed."""
    counts = Counter(result.status for result in results)
    failed = [(result.id, result.error) for result in results if result.error is not None]
    if as_json:
        summary: dict[str, object] = {str(status): counts[status] for status in PutStatus}
        summary["seconds"] = round(seconds, 3)
        summary["errors"] = [_error(item_id, error) for item_id, error in failed]
        print_json(summary)
    else:
        for item_id, error in failed:
            err.print(f"{item_id}: {error}", soft_wrap=True)
        parts = ", ".join(f"{counts[status]:,} {status}" for status in PutStatus if counts[status])
        rate = len(results) / seconds
        out.print(f"{len(results):,} items: {parts}, in {seconds:.1f} s ({rate:.0f} items/s)")
    if failed:
        raise typer.Exit(1)


def _error(item_id: str, error: EmbeddbError) -> dict[str, object]:
    return {"id": item_id, "error": type(error).__name__, "message": str(error), **error.details}
