"""Coalescing: questions that come to the event loop at the same time are answered there together."""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from contextvars import Context
from typing import Any

from embeddb_server.handlers import Asked

__all__ = ["Company", "Gathering"]

# So many are answered together at most, for meanwhile the loop does nothing else.
MOST = 16
# The loop hears of a call in one of its turns, and has its request in one of the next. A turn with nothing to
# do takes some microseconds.
TURNS = 4
# A stream that has asked within so many seconds may be about to ask again; an older one is idle.
RECENT_SECONDS = 0.02
# What is answered on the loop holds up all other calls, and leaves other cores idle. If the mean of the last
# so many answers takes more processor time than this for each question, ...
QUICK_SECONDS = 0.002
REMEMBERED = 10
# ... or so many times that by the clock, for other programs may have the processor, ...
PATIENCE = 5
# ... everything goes to the threads for so long.
PAUSE_SECONDS = 0.1
# So does everything after something that takes longer than this, for so many times as long.
LONG_SECONDS = 0.05
LONG_PAUSES = 20


class Company:
    """Which callers may be about to ask something on the event loop. Not thread-safe: for the loop's thread.

    Attributes:
        calls: how many calls are on their way to the loop or worked on there.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._latest: object = None
        self._latest_at = self._other_at = -math.inf

    def is_alone(self, stream: object | None) -> bool:
        """Whether no other call may be about to ask.

        Args:
            stream: which one that call is; None if it is no stream, and asks once.
        """
        now = time.monotonic()
        if stream is None:
            others_at = self._latest_at
        else:
            if stream is not self._latest:
                self._latest, self._other_at = stream, self._latest_at
            self._latest_at = now
            others_at = self._other_at
        return self.calls == 1 and now - others_at > RECENT_SECONDS


class Gathering:
    """Questions that wait for an answer on the event loop. Not thread-safe: for the loop's thread.

    A lone question is answered at once. Where there are several callers, the loop first turns to the calls
    that it has heard of and not yet begun: their questions may be answered together with this one.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Asked[Any, Any], asyncio.Future[None]]] = deque()
        self._mean_seconds = 0.0
        self._paused_until = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether answers took so long that for a while questions should be answered on other threads."""
        return time.monotonic() < self._paused_until

    async def settle(self, asked: Asked[Any, Any], *, alone: bool) -> None:
        """Return when a question has its answer.

        Args:
            alone: whether there is nobody else who could ask.
        """
        if alone:
            self._answer([asked])
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            # An answer is for many calls: it is given outside of the context of the one that asks first.
            loop.call_soon(self._answer_after, TURNS, context=Context())
        settled = loop.create_future()
        self._waiting.append((asked, settled))
        await settled

    def _answer_after(self, turns: int) -> None:
        """Answer the first of those who wait, after so many turns of the loop, and then see to the others."""
        if turns:
            asyncio.get_running_loop().call_soon(self._answer_after, turns - 1)
            return
        taken = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._answer_after, 0)
        kinds: dict[Hashable, list[Asked[Any, Any]]] = defaultdict(list)
        for asked, settled in taken:
            # Some have gone.
            if not settled.done():
                kinds[asked.answer, asked.kind].append(asked)
        for alike in kinds.values():
            self._answer(alike)
        for _, settled in taken:
            if not settled.done():
                settled.set_result(None)

    def _answer(self, alike: Sequence[Asked[Any, Any]]) -> None:
        """Answer questions of one kind; where they cannot be answered together, each by itself."""
        begun, worked = time.monotonic(), time.thread_time()
        try:
            outcomes = alike[0].answer([asked.question for asked in alike])
            for asked, outcome in zip(alike, outcomes, strict=True):
                asked.settle(outcome)
        except Exception as error:
            if len(alike) == 1:
                alike[0].settle(error)
            else:
                for asked in alike:
                    asked.answer_alone()
        now = time.monotonic()
        self._took(time.thread_time() - worked, now - begun, now, len(alike))

    def _took(self, worked: float, elapsed: float, now: float, questions: int) -> None:
        """Note what answers took; whether that was quick decides where the next ones are given."""
        if elapsed > LONG_SECONDS:
            self._paused_until = now + LONG_PAUSES * elapsed
            return
        each = max(worked, elapsed / PATIENCE) / questions
        self._mean_seconds += (each - self._mean_seconds) / REMEMBERED
        if self._mean_seconds > QUICK_SECONDS:
            self._mean_seconds = 0.0
            self._paused_until = now + PAUSE_SECONDS
