"""Candidates and a value of each -> the places of hits in groups (see `embeddb.options.Group`)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

__all__ = ["grouped"]


def grouped(values: Sequence[Hashable], size: int) -> list[list[int]]:
    """Put candidates into groups of equal values, those without one into none.

    Args:
        values: n of them, of candidates best first; None for a candidate without one.
        size: how many of each group at most.

    Returns:
        The places of each group's candidates, best first; the group with the best candidate first.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, value in enumerate(values):
        if value is None:
            continue
        # In Python true equals 1, and in JSON it does not.
        group = groups.setdefault((type(value) is bool, value), [])
        if len(group) < size:
            group.append(place)
    return list(groups.values())
