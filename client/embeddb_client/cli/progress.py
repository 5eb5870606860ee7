"""How far a long answer has come, as a bar on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embeddb.questions import OnProgress
from embeddb.questions import Progress as Far
from embeddb_client.cli.options import err

__all__ = ["following"]


@contextmanager
def following(*, hidden: bool) -> Iterator[OnProgress]:
    """Show a bar while an answer is waited for, where standard error is a terminal; it is gone afterwards."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = hidden or not err.is_terminal
    with Progress(*columns, console=err, disable=quiet, transient=True) as bar:
        task = bar.add_task("asking", total=None)

        def show(far: Far) -> None:
            if bar.tasks[0].description != far.stage:
                bar.reset(task, description=far.stage)
            bar.update(task, completed=far.done, total=far.total)

        yield show
