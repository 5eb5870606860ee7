"""Coalescing: questions that meet are answered together, on the thread of one of those who ask."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Coalescing"]

Q = TypeVar("Q")
A = TypeVar("A")

# Python's lock lets one thread run, and while that one is in FAISS another can prepare its search. With more
# of them, each spends its time on taking the lock from the others.
AT_ONCE = 2
MOST = 16
# After so many seconds nobody waits for those at work any more: they may wait for a cold disk.
PATIENCE = 0.02


class _Asked(Generic[Q, A]):
    """A question, and what its thread is told while it waits: an answer, or nothing, to see to it itself."""

    __slots__ = ("kind", "leads", "question", "told")

    def __init__(self, question: Q, kind: object) -> None:
        self.question = question
        self.kind = kind
        self.leads = False
        self.told: SimpleQueue[tuple[A] | None] = SimpleQueue()


class Coalescing(Generic[Q, A]):
    """Answers short questions of many threads, a few threads at a time. Thread-safe.

    Up to `AT_ONCE` begin at once. Who comes while so many are at work waits, and the next one to begin takes
    along all that wait with a question of the same kind. Nobody waits longer than `PATIENCE` to begin: after
    that, and where questions cannot be answered together, each is answered by itself.

    Args:
        answer: to 1 to `MOST` questions of one kind, an answer each, in order.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A]]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._waiting: deque[_Asked[Q, A]] = deque()
        self._working = 0

    def ask(self, question: Q, kind: object) -> A:
        """The answer to a question.

        Args:
            kind: questions of equal kinds can be answered together.

        Raises:
            Exception: what `answer` raises of this question alone.
        """
        asked: _Asked[Q, A] = _Asked(question, kind)
        try:
            told = None if self._begins(asked) else self._told(asked)
            if asked.leads:
                told = self._together(asked)
        finally:
            self._leave(asked)
        return self._answer([question])[0] if told is None else told[0]

    def _begins(self, asked: _Asked[Q, A]) -> bool:
        """Whether it begins at once; otherwise it waits."""
        with self._lock:
            asked.leads = self._working < AT_ONCE
            if asked.leads:
                self._working += 1
            else:
                self._waiting.append(asked)
            return asked.leads

    def _told(self, asked: _Asked[Q, A]) -> tuple[A] | None:
        """Wait; the answer, or None for one that has to see to it itself."""
        try:
            return asked.told.get(timeout=PATIENCE)
        except Empty:
            with self._lock:
                if asked in self._waiting:
                    self._waiting.remove(asked)
                    return None
            # Somebody has it in hand.
            return asked.told.get()

    def _together(self, asked: _Asked[Q, A]) -> tuple[A] | None:
        """Answer a question and those that wait for the same; None where that failed."""
        with self._lock:
            alike = [each for each in self._waiting if each.kind == asked.kind][: MOST - 1]
            for each in alike:
                self._waiting.remove(each)
        answers: Sequence[A] = ()
        try:
            answers = self._answer([asked.question, *(each.question for each in alike)])
        except Exception:
            # Each has its own error, or none: the question of another may be the one that fails.
            if not alike:
                raise
        finally:
            for number, each in enumerate(alike, 1):
                each.told.put((answers[number],) if answers else None)
        return (answers[0],) if answers else None

    def _leave(self, asked: _Asked[Q, A]) -> None:
        """Let the next one begin, or wait no more."""
        with self._lock:
            if not asked.leads:
                # One who was interrupted.
                if asked in self._waiting:
                    self._waiting.remove(asked)
            elif self._waiting:
                following = self._waiting.popleft()
                following.leads = True
                following.told.put(None)
            else:
                self._working -= 1
