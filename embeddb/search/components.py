"""Pairs -> groups: the connected components of a graph."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["components"]


def components(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Group what is connected, directly or through others.

    Returns:
        Each group ascending; the largest first, and of equals the one with the smallest member.
    """
    parents: dict[int, int] = {}

    def root(member: int) -> int:
        parents.setdefault(member, member)
        while parents[member] != member:
            # Halving the path as it is walked keeps it short.
            parents[member] = parents[parents[member]]
            member = parents[member]
        return member

    for one, other in pairs:
        roots = root(one), root(other)
        parents[max(roots)] = min(roots)
    groups: dict[int, list[int]] = {}
    for member in sorted(parents):
        groups.setdefault(root(member), []).append(member)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))
