"""Long answers: each step says how far it has come, and goes on only while somebody waits."""

from __future__ import annotations

from collections.abc import Callable

from embeddb.deadline import current
from embeddb.questions import OnProgress, Progress

__all__ = ["Step", "stepping"]

Step = Callable[[str, int, int], None]
"""Says the stage, how much of it is done, and how much there is to do; raises where nobody waits any more."""


def stepping(on_progress: OnProgress | None) -> Step:
    """Make the steps of an answer; each raises what `Deadline.check` does, and tells `on_progress`."""

    def step(stage: str, done: int, total: int) -> None:
        current().check()
        if on_progress is not None:
            on_progress(Progress(stage, done, total))

    return step
