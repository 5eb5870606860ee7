"""A search, and the hits that it finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embeddb.arguments import check_fields
from embeddb.errors import InvalidArgumentError
from embeddb.options import (
    Arithmetic,
    Combine,
    Diversify,
    Effort,
    Fusion,
    FusionMethod,
    Group,
    KReciprocal,
    choice,
)
from embeddb.query.items import StoredItem, View
from embeddb.query.operands import as_expressions

__all__ = [
    "DEFAULT_CANDIDATES",
    "DEFAULT_K",
    "MAX_HITS",
    "MAX_K",
    "MAX_RERANKED",
    "Contribution",
    "Hit",
    "Search",
]

DEFAULT_K = 10
"""How many hits a search returns by default."""
MAX_K = 10_000
"""Most hits that one search returns, and most candidates that it scores."""
DEFAULT_CANDIDATES = 200
"""How many candidates are scored anew or re-ranked by default."""
MAX_RERANKED = 2_000
"""Most candidates of a re-ranking, whose work grows with their square."""
MAX_HITS = 1_000_000
"""Most hits of a search, those of all its expressions together."""

# Frozen, so that all searches can share them.
_PLAIN_VIEW = View()
_PLAIN_SUM = Arithmetic()


@dataclass(frozen=True)
class Search:
    """A question to a space: a batch of expressions that are evaluated alike.

    Args:
        expressions: what to look for: each an `Expression`, or what `as_expression` makes one of; the rows of
            an array (n, d) of numbers are n vectors. Each is answered on its own.
        k: how many hits at most for each, 1 to `MAX_K`; at most `MAX_HITS` for all together.
        model: whose space to search; None for the collection's first model.
        include_operands: whether items that an expression names may be among its hits.
        view: which parts of the hits to return.
        arithmetic: how the expressions are evaluated.
        explain: whether hits say what each operand contributed to their score.
        candidates: how many of the nearest items are scored or re-ranked, where the index alone cannot do it;
            `DEFAULT_CANDIDATES` if None. Where nothing is scored or re-ranked, it has to be None.
        filter: a condition that hits satisfy, such as `price < 20 and "outdoor" in tags`; empty for none. The
            language is that of `embeddb.search.filter`.
        offset: how many hits (or groups) to pass over. Pages neither overlap nor leave gaps while nothing is
            written.
        min_score: hits score at least this: with it, the search is for all within a threshold, up to k.
        group: hits in groups of equal metadata.
        rerank: another order of the candidates: `Diversify` or `KReciprocal`.
        fusion: the spaces of several models at once, in place of `model`.
        effort: how hard to look where the index is approximate, an `Effort` or its name.

    Raises:
        InvalidArgumentError: there is no expression, one cannot be made an expression, or a number is out of
            range.
    """

    expressions: Sequence[Any]
    k: int = DEFAULT_K
    model: str | None = None
    include_operands: bool = False
    view: View = _PLAIN_VIEW
    arithmetic: Arithmetic = _PLAIN_SUM
    explain: bool = False
    candidates: int | None = None
    filter: str = ""
    offset: int = 0
    min_score: float | None = None
    group: Group | None = None
    rerank: Diversify | KReciprocal | None = None
    fusion: Fusion | None = None
    effort: Effort = Effort.BALANCED

    @property
    def limited(self) -> bool:
        """Whether hits come from a fixed number of candidates only."""
        return self.arithmetic.scores_anew or self.rerank is not None or self._fused

    @property
    def shortlist(self) -> int:
        """How many of the nearest items are scored or re-ranked."""
        return DEFAULT_CANDIDATES if self.candidates is None else self.candidates

    @property
    def _fused(self) -> bool:
        """Whether several rankings become one."""
        return self.fusion is not None and self.fusion.method is not FusionMethod.SIDE_BY_SIDE

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        object.__setattr__(self, "expressions", as_expressions(self.expressions))
        object.__setattr__(self, "effort", choice("effort", Effort, self.effort))
        _check_count("k", self.k)
        if self.candidates is not None:
            self._check_candidates(self.candidates)
        if self.k * len(self.expressions) > MAX_HITS:
            given = f"{self.k} for {len(self.expressions):,} expressions"
            raise InvalidArgumentError("k", given, f"must be at most {MAX_HITS:,} hits together")
        if self.offset < 0:
            raise InvalidArgumentError("offset", self.offset, "must be a whole number, 0 or more")
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise InvalidArgumentError("min_score", self.min_score, "must be finite")
        if self.rerank is not None:
            self._check_rerank()
        if self.fusion is not None:
            self._check_fusion()
        self._check_reach()

    def _check_candidates(self, candidates: int) -> None:
        _check_count("candidates", candidates)
        if not self.limited:
            allowed = "must be None where the index alone answers: it means something with center, combine, "
            raise InvalidArgumentError("candidates", candidates, f"{allowed}rerank and fusion")

    def _check_rerank(self) -> None:
        if self.shortlist > MAX_RERANKED:
            allowed = f"must be at most {MAX_RERANKED:,} where they are re-ranked"
            raise InvalidArgumentError("candidates", self.shortlist, allowed)
        if isinstance(self.rerank, KReciprocal) and self.arithmetic.combine is not Combine.SUM:
            allowed = "must be sum for a k-reciprocal re-ranking, which starts from one vector"
            raise InvalidArgumentError("arithmetic.combine", str(self.arithmetic.combine), allowed)

    def _check_fusion(self) -> None:
        if self.model is not None:
            raise InvalidArgumentError("model", self.model, "must be None where fusion names the models")
        for name in ("explain", "rerank"):
            if self._fused and getattr(self, name):
                allowed = "means nothing for fused hits, whose score is of no one space; use side_by_side"
                raise InvalidArgumentError(name, getattr(self, name), allowed)

    def _check_reach(self) -> None:
        reach, of = (self.shortlist, "candidates") if self.limited else (MAX_K, "what can be reached")
        if self.offset + self.k > reach:
            given = f"{self.k} + {self.offset}" if self.offset else self.k
            field_name = "k + offset" if self.offset else "k"
            raise InvalidArgumentError(field_name, given, f"must be at most {of} ({reach:,})")


def _check_count(field_name: str, count: int) -> None:
    if not 1 <= count <= MAX_K:
        raise InvalidArgumentError(field_name, count, f"must be a whole number from 1 to {MAX_K:,}")


@dataclass(frozen=True)
class Contribution:
    """What one operand has to do with a hit.

    Attributes:
        weight: the operand's, as written.
        similarity: of the hit to this operand alone, -1 to 1.
        share: its part of the score. Where operands are summed, the shares add up to the score; where they
            are multiplied, to its natural logarithm; of `Combine.BEST`, the operand that decided has it all.
    """

    weight: float
    similarity: float
    share: float


@dataclass(eq=False, slots=True)
class Hit:
    """An item found. Not frozen, as its item.

    Attributes:
        score: a similarity: larger is nearer, for every metric.
        explanation: one contribution a term of the expression, in the order of its `terms`, if asked for.
        group: the value of the field that the hits are grouped by.
        model: whose space it was found in, where several were searched side by side.
    """

    item: StoredItem
    score: float
    explanation: Sequence[Contribution] = ()
    group: str | float | bool | None = None
    model: str | None = None

    @property
    def id(self) -> str:
        """The item's id."""
        return self.item.id

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The item's metadata."""
        return self.item.metadata

    def __repr__(self) -> str:
        return f"Hit({self.id!r}, score={self.score:.4f})"
