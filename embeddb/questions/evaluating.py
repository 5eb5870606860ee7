"""How well does a space find the same thing again?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embeddb.arguments import check_fields, check_range
from embeddb.errors import InvalidArgumentError
from embeddb.options import KReciprocal
from embeddb.query import DEFAULT_CANDIDATES, MAX_RERANKED
from embeddb.questions.question import Question

__all__ = ["Evaluate", "Metrics"]

DEFAULT_RANKS = (1, 5, 10)
"""The places that an evaluation reports by default."""
MAX_GALLERY = 50_000
"""Most items that an evaluation ranks."""


@dataclass(frozen=True)
class Evaluate(Question["Metrics"]):
    """How well does a space find the same thing again, by the Market-1501 protocol (see `Metrics`)?

    The gallery is ranked as searches rank it, by the collection's metric. Centring and re-ranking need the
    cosine.

    Args:
        field: of the metadata, which holds the identity; items without it are passed over.
        camera: of the metadata, which holds where an item is from: what shows a query's identity there is not
            counted. None to pass over the query alone.
        queries: a filter; every labelled item is a query if empty.
        gallery: a filter; every labelled item is in the gallery if empty.
        ranks: the places to report.
        multi_shot: whether the queries of one identity and camera are asked together, as their mean.
        rerank: how the `candidates` nearest of each query are re-ranked.
        candidates: how many that are, 1 to `MAX_RERANKED`; `DEFAULT_CANDIDATES` if None, as it has to be
            without `rerank`.
        center: whether the mean of its modality is subtracted from each item first.
        model: in whose space; None for the collection's first model.

    Raises:
        InvalidArgumentError: a field is empty, or a number is out of range.
    """

    field: str
    camera: str | None = None
    queries: str = ""
    gallery: str = ""
    ranks: Sequence[int] = DEFAULT_RANKS
    multi_shot: bool = False
    rerank: KReciprocal | None = None
    candidates: int | None = None
    center: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name, path in (("field", self.field), ("camera", self.camera)):
            if path == "":
                raise InvalidArgumentError(name, path, "must name a field of the metadata")
        if not self.ranks or min(self.ranks) < 1:
            raise InvalidArgumentError("ranks", self.ranks, "must be places, from 1 on")
        check_range("candidates", self.shortlist, 1, MAX_RERANKED)
        if self.candidates is not None and self.rerank is None:
            raise InvalidArgumentError("candidates", self.candidates, "must be None without rerank")

    @property
    def shortlist(self) -> int:
        """How many of the nearest of each query are re-ranked."""
        return DEFAULT_CANDIDATES if self.candidates is None else self.candidates


@dataclass(frozen=True)
class Metrics:
    """How well queries found their identities.

    Attributes:
        queries: how many counted.
        unmatched: how many did not, since nothing in the gallery matches them.
        gallery: how many items were ranked.
        mean_average_precision: over the queries, of the mean of the precisions at each match.
        cmc: by rank, the share of queries with a match up to there (also called recall@k in metric learning).
        recall: by rank, the mean share of a query's matches that are found up to there.
    """

    queries: int
    unmatched: int
    gallery: int
    mean_average_precision: float
    cmc: Mapping[int, float]
    recall: Mapping[int, float]
