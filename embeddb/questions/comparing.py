"""How alike are expressions, and from which similarity on are two things the same?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddb.arguments import check_fields, check_range
from embeddb.errors import InvalidArgumentError
from embeddb.options import Arithmetic, Combine
from embeddb.query import as_expression
from embeddb.questions.question import Question

__all__ = ["Calibrate", "Calibration", "Compare", "Verdict"]

MAX_LABELLED = 5_000
"""Most labelled items that a calibration compares in pairs."""
DEFAULT_FALSE_ACCEPT_RATE = 0.001
"""The share of pairs of different things that a calibration lets pass by default."""


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
class Verdict:
    """Whether two expressions show the same, at a threshold of similarity."""

    same: bool
    similarity: float
    threshold: float


@dataclass(frozen=True)
class Calibrate(Question["Calibration"]):
    """From which similarity on are two items the same?

    All pairs of up to `MAX_LABELLED` labelled items, spread evenly over the collection, are compared, by
    their cosine whatever the collection's metric: as `compare` and `verify` do, which the thresholds are for.

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
        check_range("false_accept_rate", self.false_accept_rate, 0, 1)


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
