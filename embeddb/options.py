"""How a search is answered: the value objects that a `Search` is put together from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from embeddb.arguments import check_fields, check_range
from embeddb.errors import InvalidArgumentError

__all__ = ["Arithmetic", "Combine", "Diversify", "Effort", "Fusion", "FusionMethod", "Group", "KReciprocal"]

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


class Effort(StrEnum):
    """How hard to look for the nearest where the index is approximate, which a small space's never is.

    BALANCED finds the share of the exact nearest that the collection's settings ask for, SPEED nine in
    ten, ACCURACY 99 in a hundred, each as measured on a sample of the space itself. EXACT misses none.
    """

    BALANCED = "balanced"
    SPEED = "speed"
    ACCURACY = "accuracy"
    EXACT = "exact"


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
        check_fields(self, "arithmetic.")
        object.__setattr__(self, "combine", choice("arithmetic.combine", Combine, self.combine))
        if self.combine is not Combine.SUM and not self.normalise:
            allowed = f"must be true where operands are combined by {self.combine}, which only sees angles"
            raise InvalidArgumentError("arithmetic.normalise", False, allowed)

    @property
    def scores_anew(self) -> bool:
        """Whether hits are scored otherwise than by the cosine of the stored vectors to the query's."""
        return self.center or self.combine is not Combine.SUM


@dataclass(frozen=True)
class Diversify:
    """Order the candidates so that hits differ from one another: maximal marginal relevance.

    The next hit is the one with the largest weight * score - (1 - weight) * similarity, the latter to the
    likest hit before it. Scores stay as they are. Carbonell & Goldstein, "The Use of MMR, Diversity-Based
    Reranking for Reordering Documents and Producing Summaries" (SIGIR 1998).

    Args:
        weight: of the score, 0 to 1; 1 changes nothing.

    Raises:
        InvalidArgumentError: the weight is not from 0 to 1.
    """

    weight: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self, "diversify.")
        check_range("diversify.weight", self.weight, 0, 1)


@dataclass(frozen=True)
class KReciprocal:
    """Order the candidates by whom they share neighbours with: k-reciprocal re-ranking.

    Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017); the names and
    values are theirs. The gallery is the candidates. Scores stay as they are.

    Args:
        k1: how many neighbours of each candidate count.
        k2: over how many neighbours the encoding is averaged.
        weight: of the distance itself against that of the neighbours (lambda), 0 to 1; 1 changes nothing.

    Raises:
        InvalidArgumentError: k1 is not positive, k2 is not from 1 to k1, or the weight not from 0 to 1.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self, "k_reciprocal.")
        if self.k1 < 1:
            raise InvalidArgumentError("k_reciprocal.k1", self.k1, "must be at least 1")
        if not 1 <= self.k2 <= self.k1:
            raise InvalidArgumentError("k_reciprocal.k2", self.k2, f"must be from 1 to k1 ({self.k1})")
        check_range("k_reciprocal.weight", self.weight, 0, 1)


class FusionMethod(StrEnum):
    """How the rankings of several spaces become one.

    RANK: by the sum of 1 / (60 + place), which compares no scores: reciprocal rank fusion. Cormack, Clarke &
        Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods" (SIGIR
        2009).
    MIN_MAX, Z_SCORE: by the sum of scores, after those of each space were scaled to 0 to 1, or to a mean of 0
        and a deviation of 1. Montague & Aslam, "Relevance Score Normalization for Metasearch" (CIKM 2001).
    SIDE_BY_SIDE: not at all: the hits of each space follow those of the one before.
    """

    RANK = "rank"
    MIN_MAX = "min_max"
    Z_SCORE = "z_score"
    SIDE_BY_SIDE = "side_by_side"


@dataclass(frozen=True)
class Fusion:
    """Search in the spaces of several models at once.

    The `candidates` of each space are fused; an item that a space did not find gets the lowest score there,
    and nothing for its rank.

    Args:
        models: whose spaces; each encodes what the expression holds.
        method: how the rankings become one.
        weights: one a model, what its ranking counts; all count alike without any.

    Raises:
        InvalidArgumentError: there is no model or one twice; weights are not one a model, or not finite, or
            would do nothing, side by side.
    """

    models: Sequence[str]
    method: FusionMethod = FusionMethod.RANK
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        check_fields(self, "fusion.")
        object.__setattr__(self, "method", choice("fusion.method", FusionMethod, self.method))
        if not self.models or len(set(self.models)) < len(self.models):
            raise InvalidArgumentError("fusion.models", self.models, "must be models, each of them once")
        if self.weights and self.method is FusionMethod.SIDE_BY_SIDE:
            raise InvalidArgumentError("fusion.weights", self.weights, "must be none side by side")
        if self.method is FusionMethod.SIDE_BY_SIDE:
            return
        weights = tuple(map(float, self.weights)) or (1.0,) * len(self.models)
        if len(weights) != len(self.models) or not all(map(math.isfinite, weights)):
            raise InvalidArgumentError("fusion.weights", self.weights, "must be finite, one a model")
        object.__setattr__(self, "weights", weights)


@dataclass(frozen=True)
class Group:
    """Hits in groups of equal values in a metadata field; k then counts groups.

    Groups come in the order of their best hits, and the hits of a group follow one another. Items without the
    field are no hits. Groups are looked for among the `MAX_K` nearest items.

    Args:
        field: of the metadata, such as "product"; dots go into nested objects.
        size: how many hits at most of each group.

    Raises:
        InvalidArgumentError: the field is empty, or the size is not positive.
    """

    field: str
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self, "group.")
        if not self.field:
            raise InvalidArgumentError("group.field", self.field, "must name a field of the metadata")
        if self.size < 1:
            raise InvalidArgumentError("group.size", self.size, "must be at least 1")


def choice(field: str, kind: type[E], value: str) -> E:
    """Make a member of an enumeration from itself or its name.

    Raises:
        InvalidArgumentError: there is none of that name.
    """
    if type(value) is kind:
        return value
    try:
        return kind(value)
    except ValueError:
        allowed = f"must be one of {', '.join(kind)}"
        raise InvalidArgumentError(field, value, allowed) from None
