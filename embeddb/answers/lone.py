"""Lone searches: by one vector, for a few hits, and for nothing that takes long beside the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from embeddb.options import Effort
from embeddb.query import Search, Vector

__all__ = ["is_lone", "joined", "kind"]

# One more is asked of the index, and more where scores are equal: still few enough for it to answer at once.
MOST_HITS = 50
# Lone searches that are alike in these become one, which is by many vectors.
kind = attrgetter("k", "model", "include_operands", "effort")

_OTHERS = attrgetter(
    "view",
    "arithmetic",
    "explain",
    "candidates",
    "filter",
    "offset",
    "min_score",
    "group",
    "rerank",
    "fusion",
)
_PLAIN = _OTHERS(Search([Vector([1.0])]))


def is_lone(search: Search) -> bool:
    """Whether a search is a lone one."""
    return (
        len(search.expressions) == 1
        and isinstance(search.expressions[0], Vector)
        and search.k <= MOST_HITS
        and search.effort is not Effort.EXACT
        and bool(_OTHERS(search) == _PLAIN)
    )


def joined(searches: Sequence[Search]) -> Search:
    """One search for the expressions of several that are alike."""
    first = searches[0]
    if len(searches) == 1:
        return first
    return replace(first, expressions=[each for search in searches for each in search.expressions])
