"""Measurements in turns, round after round, so that a noisy minute of the machine hits each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from report import Results

__all__ = ["Rounds", "Turn", "in_turns", "medians", "times"]

Rounds = Mapping[str, Mapping[str, list[float]]]
"""What was measured in each round, by the names of columns and figures."""


@dataclass(frozen=True)
class Turn:
    """One measurement of a round.

    Attributes:
        column: whose figures they are.
        measure: takes the seconds that it is to last about, and gives figures by their names.
    """

    column: str
    measure: Callable[[float], Mapping[str, float]]


def in_turns(turns: Iterable[Turn], rounds: int, seconds: float) -> Rounds:
    """Take all turns one after the other, in each round.

    Args:
        seconds: of each turn.
    """
    turns = list(turns)
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for turn in turns:
            for figure, value in turn.measure(seconds).items():
                measured[turn.column][figure].append(value)
        print(f"round {number + 1} of {rounds}", end="\r", flush=True)
    return measured


def medians(measured: Rounds) -> Results:
    """Of the rounds."""
    return {
        column: {figure: float(np.median(values)) for figure, values in figures.items()}
        for column, figures in measured.items()
    }


def times(figure: Sequence[float], other: Sequence[float]) -> float:
    """How many times another figure one is, by the median of what it is within each round."""
    return float(np.median(np.divide(figure, other)))
