"""What is this? By texts, by labelled neighbours, or by the classes of the model itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embeddb.arguments import check_fields, check_range
from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.presets import mean
from embeddb.query import MAX_K, Expression, Prediction, Text, as_expression
from embeddb.questions.question import Question

__all__ = ["Classify", "Neighbours", "OwnClasses", "ZeroShot"]

DEFAULT_TEMPLATES = ("a photo of a {}.",)
"""The sentences that stand for a class by default."""
MAX_SENTENCES = 10_000
"""Most sentences, of all labels in all templates, that one classification has embedded."""
DEFAULT_NEIGHBOURS = 5
"""How many neighbours vote by default."""
DEFAULT_TOP = 5
"""How many classes are given by default."""


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
        InvalidArgumentError: there are no labels or no templates, or more than `MAX_SENTENCES` together, a
            label occurs twice, a template has no {}, or the scale is not positive.
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
        if len(self.labels) * len(self.templates) > MAX_SENTENCES:
            given = f"{len(self.labels):,} labels in {len(self.templates):,} templates"
            allowed = f"must be at most {MAX_SENTENCES:,} sentences together"
            raise InvalidArgumentError("zero_shot.labels", given, allowed)
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
        check_range("neighbours.k", self.k, 1, MAX_K)
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
