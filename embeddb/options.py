"""How a search is answered: the value objects that a `Search` is put together from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from embeddb.errors import InvalidArgumentError

__all__ = ["Arithmetic", "Combine"]

E = TypeVar("E", bound=StrEnum)


class Combine(StrEnum):
    """How the operands of an expression make one score, given an item's similarity to each of them.

    SUM: the weighted sum, which is the cosine to the summed vector (3CosAdd); the only one that also searches
        by one vector. Mikolov et al., "Linguistic Regularities in Continuous Space Word Representations"
        (NAACL 2013).
    PRODUCT: the product of ((1 + similarity) / 2) to the power of the weight over the largest (3CosMul),
        so that no single operand can outweigh the others. Levy & Goldberg, "Linguistic Regularities in Sparse
        and Explicit Word Representations" (CoNLL 2014).
    BEST: the similarity to the nearest operand of positive weight; where one of negative weight is nearer
        still, minus the square of the similarity to that. Weights count by their sign alone. The best-score
        strategy of Qdrant's recommendations, and for several pictures of one person, multi-shot search.
    """

    SUM = "sum"
    PRODUCT = "product"
    BEST = "best"


@dataclass(frozen=True)
class Arithmetic:
    """How expressions are evaluated.

    With `center`, the mean vector of its modality is subtracted from every operand and every candidate: texts
    and images of CLIP-like models lie in different cones, and what all texts share says nothing about any of
    them (Liang et al., "Mind the Gap", NeurIPS 2022).

    Args:
        combine: how operands make one score.
        normalise: whether operands are brought to unit length before they are weighted.
        center: whether means are subtracted first. An operand whose modality no item of the space has is
            refused, except for vectors, which are taken as they are unless the space has items of features
            alone.

    Raises:
        InvalidArgumentError: operands are not to be normalised where only angles count.
    """

    combine: Combine = Combine.SUM
    normalise: bool = True
    center: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "combine", choice("arithmetic.combine", Combine, self.combine))
        if self.combine is not Combine.SUM and not self.normalise:
            allowed = f"must be true where operands are combined by {self.combine}, which only sees angles"
            raise InvalidArgumentError("arithmetic.normalise", False, allowed)

    @property
    def scores_anew(self) -> bool:
        """Whether hits are scored otherwise than by the cosine of the stored vectors to the query's."""
        return self.center or self.combine is not Combine.SUM


def choice(field: str, kind: type[E], value: str) -> E:
    """Make a member of an enumeration from itself or its name.

    Raises:
        InvalidArgumentError: there is none of that name.
    """
    try:
        return kind(value)
    except ValueError:
        allowed = f"must be one of {', '.join(kind)}"
        raise InvalidArgumentError(field, value, allowed) from None
