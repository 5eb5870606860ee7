"""What a question is, and how far its answer has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["OnProgress", "Progress", "Question"]

A = TypeVar("A", covariant=True)


class Question(Generic[A]):
    """Something that a collection answers with an A: `collection.ask(question)`.

    Attributes:
        model: in whose space; None for the collection's first model.
    """

    model: str | None


@dataclass(frozen=True)
class Progress:
    """How far a long answer has come.

    Attributes:
        stage: what is being done, such as "comparing"; an answer may have several stages.
        done: how much of it is done.
        total: how much there is to do, in the same unit: items, or rounds.
    """

    stage: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]
"""Is told how far an answer has come, on the thread that works at it."""
