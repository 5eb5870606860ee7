"""A batch divided among the cores: each takes a part of it through the whole network by itself.

torch divides each operation among its threads instead, and waits for the slowest after every one: on cores
that also decode images and serve calls, that is some hundred waits in each batch of a ViT.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

import torch

from embeddb.models.network import Output

__all__ = ["Cores"]

MIN_PART = 4
"""Least inputs of a part: each part reads all weights, for which few inputs do not pay."""


class Cores:
    """As many threads as torch divides an operation among, in each of which torch divides nothing.

    Args:
        name: what the threads' names begin with.
        max_part: most inputs of a part; there are several for each thread where a batch has more.
    """

    def __init__(self, name: str, max_part: int) -> None:
        self._count = torch.get_num_threads()
        self._max_part = max_part
        self._pool = ThreadPoolExecutor(self._count, f"{name}-core")
        self._begin()

    def can_divide(self, prepared: Sequence[Any]) -> bool:
        """Whether a batch is large enough that every core gets `MIN_PART` inputs."""
        return len(prepared) >= self._count * MIN_PART

    def divide(self, run: Callable[[Sequence[Any]], Output], prepared: Sequence[Any]) -> Output:
        """Run a batch in parts of about the same size, as many for each thread.

        Args:
            run: gives the features and probabilities of a part, on the CPU; it is called on all threads at
                once.
            prepared: the batch; there are at least as many as threads.

        Raises:
            Exception: the first that a part raised, once all have ended.
        """
        count = self._count * math.ceil(len(prepared) / (self._count * self._max_part))
        ends = [len(prepared) * number // count for number in range(count + 1)]
        parts = [self._pool.submit(run, prepared[start:end]) for start, end in pairwise(ends)]
        wait(parts)
        outputs = [part.result() for part in parts]
        probabilities = [each.probabilities for each in outputs if each.probabilities is not None]
        features = torch.cat([each.features for each in outputs])
        return Output(features, torch.cat(probabilities) if probabilities else None)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _begin(self) -> None:
        """Start the threads, and tell torch that each has one core.

        torch keeps the number for each thread, but also gives the one that was set last to threads that it
        sees for the first time. So that is set again, from a thread of no further use.
        """
        together = threading.Barrier(self._count)

        def take_one() -> None:
            # So that every thread of the pool takes one of these.
            together.wait()
            # A thread's first question gives it the common number, which would undo what is set before it.
            torch.get_num_threads()
            torch.set_num_threads(1)

        for started in [self._pool.submit(take_one) for _ in range(self._count)]:
            started.result()
        again = threading.Thread(target=torch.set_num_threads, args=(self._count,))
        again.start()
        again.join()
