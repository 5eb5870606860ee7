"""How long one caller waits, and how much many callers get."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

Work = Callable[[int], int]
"""Does the piece of work with this number, and says how much that was."""

WARM_UP = 5


def waits(work: Work, seconds: float) -> tuple[float, float]:
    """The median and the 99th percentile of what one caller waits for a piece of work, in ms."""
    for number in range(WARM_UP):
        work(number)
    taken = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        work(len(taken))
        taken.append(time.perf_counter() - start)
    p50, p99 = np.percentile(taken, (50, 99)) * 1000
    return float(p50), float(p99)


def per_second(step: Callable[[], int], seconds: float) -> float:
    """How much this thread gets done a second, in steps that each say how much, until so many have passed."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        done += step()
    return done / (time.perf_counter() - start)


def rate(callers: Sequence[Work], seconds: float, *, warm_up: bool = True) -> float:
    """How much these callers get done a second together, each on a thread of its own.

    All begin at once, after each has done a piece of work to warm up, unless that takes too long.

    Raises:
        Exception: the first that a caller raised.
    """
    done = [0] * len(callers)
    errors: list[Exception] = []
    times: list[float] = []
    ready = threading.Barrier(len(callers), action=lambda: times.append(time.perf_counter()))

    def call(caller: int) -> None:
        work = callers[caller]
        try:
            if warm_up:
                work(caller)
            ready.wait()
            # Callers ask for different things, as they do in life.
            number = 31 * caller
            while time.perf_counter() < times[0] + seconds:
                done[caller] += work(number)
                number += 1
        except Exception as error:
            errors.append(error)
            ready.abort()

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(len(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(done) / (time.perf_counter() - times[0])


async def rate_of_tasks(callers: Sequence[Callable[[], Awaitable[int]]], seconds: float) -> float:
    """How much these callers get done a second together, each a task of this thread's event loop.

    All begin at once, after each has done a piece of work to warm up. Each piece is a call.

    Raises:
        ExceptionGroup: callers raised.
    """

    async def call(work: Callable[[], Awaitable[int]]) -> int:
        done = 0
        while time.perf_counter() < start + seconds:
            done += await work()
        return done

    await asyncio.gather(*(work() for work in callers))
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(work)) for work in callers]
    return sum(task.result() for task in tasks) / (time.perf_counter() - start)


def in_turns_ms(*works: Callable[[int], object], times: int = 300) -> list[float]:
    """The median of what each piece of work takes, in ms, done in turns.

    Each gets a number of its own every time, so that none finds in the cache what the one before it has read.
    """
    taken = np.empty((times, len(works)))
    for number in range(times):
        for place, work in enumerate(works):
            start = time.perf_counter()
            work(number + place * (times // len(works)))
            taken[number, place] = time.perf_counter() - start
    return [float(each) * 1000 for each in np.median(taken, axis=0)]
