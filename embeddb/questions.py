"""Questions to a collection that are not answered by hits: how alike, the same or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from embeddb.arguments import check_fields
from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.options import Arithmetic, Combine, KReciprocal
from embeddb.presets import mean
from embeddb.query import DEFAULT_CANDIDATES, MAX_K, MAX_RERANKED, Expression, Prediction, Text, as_expression

__all__ = [
    "Calibrate",
    "Calibration",
    "Classify",
    "Compare",
    "Duplicates",
    "Evaluate",
    "Metrics",
    "Neighbours",
    "OwnClasses",
    "Question",
    "Verdict",
    "ZeroShot",
]

A = TypeVar("A", covariant=True)

DEFAULT_DUPLICATE = 0.95
"""The cosine from which on items are nearly the same unless told."""
DEFAULT_RANKS = (1, 5, 10)
"""The places that an evaluation reports unless told."""
MAX_GALLERY = 50_000
"""Most items that an evaluation ranks."""
MAX_LABELLED = 5_000
"""Most labelled items that a calibration compares in pairs."""
DEFAULT_TEMPLATES = ("a photo of a {}.",)
"""The sentences that stand for a class unless told."""
DEFAULT_NEIGHBOURS = 5
"""How many neighbours vote unless told."""
DEFAULT_TOP = 5
"""How many classes are given unless told."""
DEFAULT_FALSE_ACCEPT_RATE = 0.001
"""The share of pairs of different things that a calibration lets pass unless told."""


class Question(Generic[A]):
    """Something that a collection answers with an A: `collection.ask(question)`.

    Attributes:
        model: in whose space; None for the collection's first model.
    """

    model: str | None


@dataclass(frozen=True)
class Compare(Question[npt.NDArray[np.float32]]):
    """How alike are expressions? The answer is (n, m) float32: the cosine of each to each other one.

    Args:
        expressions: n of them, or what `as_expression` makes one of.
        others: m to compare them with; none to compare them with one another.
        model: in whose space; None for the collection's first model.
        arithmetic: how the expressions are evaluated.

    Raises:
        InvalidArgumentError: there are no expressions, or they are not combined to one vector.
    """

    expressions: Sequence[Any]
    others: Sequence[Any] = ()
    model: str | None = None
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        object.__setattr__(self, "expressions", tuple(as_expression(each) for each in self.expressions))
        object.__setattr__(self, "others", tuple(as_expression(each) for each in self.others))
        if self.arithmetic.combine is not Combine.SUM:
            allowed = "must be sum: what is compared is one vector with another"
            raise InvalidArgumentError("arithmetic.combine", str(self.arithmetic.combine), allowed)


@dataclass(frozen=True)
class ZeroShot:
    """Classify by texts: a class is the mean of its label in several sentences, and needs no example.

    The probabilities are those of the model's own library (see `embeddb.search.classify.probabilities`).

    Args:
        labels: the classes.
        templates: sentences with {} where the label goes.
        scale: what similarities are multiplied by before the softmax; None for the model's own, which the
            image-text models of open_clip have.

    Raises:
        InvalidArgumentError: there are no labels or no templates, a label occurs twice, a template has no {},
            or the scale is not positive.
    """

    labels: Sequence[str]
    templates: Sequence[str] = DEFAULT_TEMPLATES
    scale: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, "zero_shot.")
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise InvalidArgumentError("zero_shot.labels", self.labels, "must be labels, each of them once")
        if not self.templates or not all("{}" in each for each in self.templates):
            raise InvalidArgumentError(
                "zero_shot.templates", self.templates, "must be sentences with {} in them"
            )
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise InvalidArgumentError("zero_shot.scale", self.scale, "must be a positive number")

    @property
    def prototypes(self) -> list[Expression]:
        """The expression of each class."""
        return [
            mean([Text(template.replace("{}", label)) for template in self.templates])
            for label in self.labels
        ]


@dataclass(frozen=True)
class Neighbours:
    """Classify by the nearest labelled items, which vote.

    Args:
        field: of the metadata, which holds the label; dots go into nested objects.
        k: how many neighbours vote.
        temperature: None for one vote each; otherwise nearer ones have more, the lower it is; 0.07 is usual.

    Raises:
        InvalidArgumentError: the field is empty, k is out of range, or the temperature is not positive.
    """

    field: str
    k: int = DEFAULT_NEIGHBOURS
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, "neighbours.")
        if not self.field:
            raise InvalidArgumentError("neighbours.field", self.field, "must name a field of the metadata")
        if not 1 <= self.k <= MAX_K:
            raise InvalidArgumentError("neighbours.k", self.k, f"must be from 1 to {MAX_K:,}")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise InvalidArgumentError(
                "neighbours.temperature", self.temperature, "must be a positive number"
            )


@dataclass(frozen=True)
class OwnClasses:
    """Classify by the classes of the model itself: those stored with an item, or those of new content."""


@dataclass(frozen=True)
class Classify(Question[list[list[Prediction] | EmbeddbError]]):
    """What are these? The answer is one list of predictions an expression, most likely first.

    An expression that cannot be evaluated has its error in its place.

    Args:
        expressions: what to classify; by the model's own classes, each is one image, text or item alone.
        by: how.
        top: how many classes to give at most.
        model: in whose space; None for the collection's first model.

    Raises:
        InvalidArgumentError: there are no expressions, or top is not positive.
    """

    expressions: Sequence[Any]
    by: ZeroShot | Neighbours | OwnClasses
    top: int = DEFAULT_TOP
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        object.__setattr__(self, "expressions", tuple(as_expression(each) for each in self.expressions))
        if self.top < 1:
            raise InvalidArgumentError("top", self.top, "must be at least 1")


@dataclass(frozen=True)
class Evaluate(Question["Metrics"]):
    """How well does a space find the same thing again, by the Market-1501 protocol (see `Metrics`)?

    Args:
        field: of the metadata, which holds the identity; items without it are passed over.
        camera: of the metadata, which holds where an item is from: what shows a query's identity there is not
            counted. None to pass over the query alone.
        queries: a filter; every labelled item is a query if empty.
        gallery: a filter; every labelled item is in the gallery if empty.
        ranks: the places to report.
        multi_shot: whether the queries of one identity and camera are asked together, as their mean.
        rerank: how the `candidates` nearest of each query are re-ranked.
        candidates: how many that are, 1 to `MAX_RERANKED`.
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
    candidates: int = DEFAULT_CANDIDATES
    center: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name, path in (("field", self.field), ("camera", self.camera)):
            if path == "":
                raise InvalidArgumentError(name, path, "must name a field of the metadata")
        if not self.ranks or min(self.ranks) < 1:
            raise InvalidArgumentError("ranks", self.ranks, "must be places, from 1 on")
        if not 1 <= self.candidates <= MAX_RERANKED:
            raise InvalidArgumentError("candidates", self.candidates, f"must be from 1 to {MAX_RERANKED:,}")


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


@dataclass(frozen=True)
class Duplicates(Question[list[list[str]]]):
    """Which items are nearly the same? The answer is groups of two ids and more, the largest first.

    Two items are in one group if their similarity reaches the threshold, or if others join them. It takes a
    search an item, and ends when its caller gives up.

    Args:
        threshold: of the cosine, -1 to 1.
        filter: only items that satisfy it are compared; all if empty.
        model: in whose space; None for the collection's first model.

    Raises:
        InvalidArgumentError: the threshold is out of range.
    """

    threshold: float = DEFAULT_DUPLICATE
    filter: str = ""
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not -1.0 <= self.threshold <= 1.0:
            raise InvalidArgumentError("threshold", self.threshold, "must be from -1 to 1")


@dataclass(frozen=True)
class Verdict:
    """Whether two expressions show the same, at a threshold of similarity."""

    same: bool
    similarity: float
    threshold: float


@dataclass(frozen=True)
class Calibrate(Question["Calibration"]):
    """From which similarity on are two items the same?

    All pairs of up to `MAX_LABELLED` labelled items, spread evenly over the collection, are compared.

    Args:
        field: of the metadata, such as "person"; dots go into nested objects. Items with equal values there
            are the same, items without it are passed over.
        false_accept_rate: the largest share of pairs of different things that may be taken for the same.
        model: in whose space; None for the collection's first model.
        center: whether the mean of its modality is subtracted from each item first.

    Raises:
        InvalidArgumentError: the rate is not from 0 to 1, or the field is empty.
    """

    field: str
    false_accept_rate: float = DEFAULT_FALSE_ACCEPT_RATE
    model: str | None = None
    center: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.field:
            raise InvalidArgumentError("field", self.field, "must name a field of the metadata")
        if not 0.0 <= self.false_accept_rate <= 1.0:
            raise InvalidArgumentError("false_accept_rate", self.false_accept_rate, "must be from 0 to 1")


@dataclass(frozen=True)
class Calibration:
    """Thresholds that labelled items give; two items count as the same from a threshold on.

    Attributes:
        items: how many were compared.
        same_pairs: how many pairs have equal labels.
        different_pairs: how many do not.
        equal_error_threshold: where the share of same pairs rejected is the share of different ones accepted.
        equal_error_rate: that share.
        threshold: the lowest that keeps to the false-accept rate asked for. A rate below one in
            `different_pairs` cannot be measured: then it accepts none of these pairs.
        false_accept_rate: at `threshold`.
        false_reject_rate: at `threshold`: the share of same pairs that are taken for different.
    """

    items: int
    same_pairs: int
    different_pairs: int
    equal_error_threshold: float
    equal_error_rate: float
    threshold: float
    false_accept_rate: float
    false_reject_rate: float
