"""Batches: everyone gets their own result or error, and nobody waits for what nobody wants."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.batching import BULK_TURN, Batcher, Priority
from embeddb.deadline import NEVER, Deadline, current, within
from embeddb.errors import (
    CancelledError,
    DeadlineExceededError,
    EmbeddbError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

EXPIRED = Deadline(at=0.0)
GONE = Deadline(gone=lambda: True)


@dataclass
class Doubler:
    """Doubles numbers, refuses negative ones by name, breaks on 13, exits on 14, and can be held up."""

    batches: list[list[int]] = field(default_factory=list)
    started: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    open: threading.Event = field(default_factory=threading.Event)

    def __call__(self, numbers: Sequence[int]) -> list[int | EmbeddbError]:
        self.batches.append(list(numbers))
        self.started.release()
        assert self.open.wait(20)
        if 13 in numbers:
            raise ZeroDivisionError("13 breaks everything")
        if 14 in numbers:
            sys.exit("14 is the end")
        return [2 * n if n >= 0 else InvalidArgumentError("n", n, "must not be negative") for n in numbers]


@contextmanager
def batcher(run: Doubler, max_batch: int = 4, max_queue: int = 100) -> Iterator[Batcher[int, int]]:
    made: Batcher[int, int] = Batcher("doubler", run, max_batch, max_queue)
    try:
        yield made
    finally:
        run.open.set()
        made.close()


@contextmanager
def held_up(run: Doubler, max_batch: int = 4, max_queue: int = 100) -> Iterator[Batcher[int, int]]:
    """A batcher whose thread is busy with the number 0 until `run.open` is set."""
    with batcher(run, max_batch, max_queue) as made:
        made.submit(0, Priority.QUERY)
        assert run.started.acquire(timeout=20)
        yield made


def outcome(future: Future[int]) -> int | type[BaseException]:
    error = None if future.cancelled() else future.exception(timeout=20)
    return type(error) if error is not None else future.result(timeout=20)


inputs = st.tuples(
    st.sampled_from([1, 2, 3, -1, 13, 14]),
    st.sampled_from(Priority),
    st.sampled_from([NEVER, NEVER, NEVER, EXPIRED, GONE]),
)


@given(st.lists(inputs, max_size=25), st.integers(1, 5))
def test_everyone_gets_their_own_result_or_error(
    given_inputs: list[tuple[int, Priority, Deadline]], max_batch: int
) -> None:
    run = Doubler()
    with held_up(run, max_batch) as queue:
        futures = [queue.submit(*each) for each in given_inputs]
        run.open.set()
        outcomes = [outcome(future) for future in futures]
    for (number, _, deadline), got in zip(given_inputs, outcomes, strict=True):
        if deadline is not NEVER:
            assert got is (DeadlineExceededError if deadline is EXPIRED else CancelledError)
        elif number in (13, 14):
            assert got is InternalError
        else:
            assert got == (2 * number if number > 0 else InvalidArgumentError)
    wanted = sum(deadline is NEVER for _, _, deadline in given_inputs)
    assert all(len(batch) <= max_batch for batch in run.batches)
    if not any(number in (13, 14) for number, _, _ in given_inputs):
        assert sum(map(len, run.batches)) == 1 + wanted


@given(st.lists(st.sampled_from(Priority), max_size=20), st.integers(1, 5))
def test_queries_go_first_and_each_queue_keeps_its_order(priorities: list[Priority], max_batch: int) -> None:
    run = Doubler()
    with held_up(run, max_batch) as queue:
        futures = [queue.submit(n + 100, priority) for n, priority in enumerate(priorities)]
        run.open.set()
        assert [outcome(future) for future in futures] == [2 * (n + 100) for n in range(len(priorities))]
    served = [n - 100 for batch in run.batches[1:] for n in batch]
    for priority in Priority:
        own = [n for n in served if priorities[n] is priority]
        assert own == sorted(own)
    for batch in run.batches[1:]:
        assert len({priorities[n - 100] for n in batch}) == 1, "a batch holds one priority"
    queries = [n for n, priority in enumerate(priorities) if priority is Priority.QUERY]
    # The first batch, which held the thread up, was of queries too.
    first = (BULK_TURN - 1) * max_batch
    assert served[: min(first, len(queries))] == queries[:first]


def test_a_load_gets_a_turn_between_queries_without_end() -> None:
    run = Doubler()
    with held_up(run, max_batch=1) as queue:
        queries = [queue.submit(1, Priority.QUERY) for _ in range(3 * BULK_TURN)]
        queue.submit(7, Priority.BULK)
        run.open.set()
        for future in queries:
            future.result(timeout=20)
    assert run.batches.index([7]) == BULK_TURN


def test_a_lone_request_starts_at_once_and_those_that_wait_go_together() -> None:
    run = Doubler()
    with held_up(run) as queue:
        assert run.batches == [[0]]
        futures = [queue.submit(n, Priority.QUERY) for n in range(1, 6)]
        run.open.set()
        assert [future.result(timeout=20) for future in futures] == [2, 4, 6, 8, 10]
    assert run.batches == [[0], [1, 2, 3, 4], [5]]


def test_a_cancelled_future_is_not_run() -> None:
    run = Doubler()
    with held_up(run) as queue:
        kept, cancelled = queue.submit(1, Priority.QUERY), queue.submit(2, Priority.QUERY)
        assert cancelled.cancel()
        run.open.set()
        assert kept.result(timeout=20) == 2
    assert run.batches == [[0], [1]]


def test_a_full_queue_refuses_a_query_and_holds_a_load_back() -> None:
    run = Doubler()
    with held_up(run, max_batch=1, max_queue=2) as queue, ThreadPoolExecutor(1) as caller:
        for number in (1, 2):
            queue.submit(number, Priority.QUERY)
            queue.submit(10 * number, Priority.BULK)
        with pytest.raises(ResourceExhaustedError, match="2 wait"):
            queue.submit(3, Priority.QUERY)
        held_back = caller.submit(queue.submit, 30, Priority.BULK)
        with pytest.raises(TimeoutError):
            held_back.result(timeout=0.05)
        with pytest.raises(DeadlineExceededError):
            queue.submit(40, Priority.BULK, Deadline(time.monotonic() + 0.05))
        run.open.set()
        assert held_back.result(timeout=20).result(timeout=20) == 60


def test_closing_finishes_what_is_queued_and_refuses_the_rest() -> None:
    run = Doubler()
    with held_up(run, max_batch=1, max_queue=1) as queue, ThreadPoolExecutor(2) as callers:
        queued = queue.submit(1, Priority.BULK)
        held_back = callers.submit(queue.submit, 2, Priority.BULK)
        closing = callers.submit(queue.close)
        with pytest.raises(UnavailableError, match="doubler is closed"):
            held_back.result(timeout=20)
        run.open.set()
        closing.result(timeout=20)
        assert queued.result() == 2
        with pytest.raises(UnavailableError):
            queue.submit(3, Priority.QUERY)


def test_the_deadline_of_a_call_goes_with_what_it_submits() -> None:
    run = Doubler()
    assert current() is NEVER
    with held_up(run) as queue, within(GONE):
        future = queue.submit(1, Priority.QUERY)
        run.open.set()
        assert outcome(future) is CancelledError
    assert current() is NEVER
    with pytest.raises(DeadlineExceededError):
        EXPIRED.check()
    assert NEVER.over() is None
    assert NEVER.seconds is None
    assert EXPIRED.seconds == 0.0


def test_a_call_that_waits_goes_when_its_deadline_passes() -> None:
    run = Doubler()
    with held_up(run) as queue:
        with within(Deadline(time.monotonic() + 0.05)), pytest.raises(DeadlineExceededError):
            queue.wait(queue.submit(1, Priority.QUERY))
        run.open.set()
        assert queue.wait(queue.submit(2, Priority.QUERY)) == 4
    assert [1] not in run.batches
