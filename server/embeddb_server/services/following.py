"""Long answers over gRPC: how far they are, until they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

from embeddb.questions import OnProgress, Progress
from embeddb_protos.wire.codec import progress_message

__all__ = ["follow"]

R = TypeVar("R")

PROGRESS_SECONDS = 0.2


def follow(work: Callable[[OnProgress], R], response: type[Any], answer: Callable[[R], Any]) -> Iterator[Any]:
    """Work on another thread, and say how far it is until it is done.

    Args:
        response: the message of the stream, which holds either a progress or a response.
        answer: makes the response of what the work gave.
    """
    latest: list[Progress] = []

    def keep(progress: Progress) -> None:
        latest[:] = [progress]

    # The call's deadline goes along in the context: the work ends at its next step once nobody waits.
    with ThreadPoolExecutor(1, thread_name_prefix="answer") as pool:
        result = pool.submit(copy_context().run, work, keep)
        told: list[Progress] = []
        while not wait([result], PROGRESS_SECONDS).done:
            if latest != told:
                told = list(latest)
                yield response(progress=progress_message(told[0]))
    yield response(response=answer(result.result()))
