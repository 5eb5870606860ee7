"""Where do the items of a space lie on a map of two dimensions?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embeddb.arguments import check_fields, check_range
from embeddb.questions.question import Question

__all__ = ["Layout", "Map", "Pca", "Umap"]

DEFAULT_SAMPLE = 5_000
"""How many items a map shows by default."""
MAX_SAMPLE = 20_000
"""Most items that a map shows."""
DEFAULT_NEIGHBOURS = 15
"""How many neighbours UMAP keeps near by default."""
DEFAULT_MIN_DISTANCE = 0.1
"""How near to one another UMAP puts points by default."""


@dataclass(frozen=True)
class Pca:
    """The two directions in which items differ most: a flat shadow, in which distances keep their meaning.

    Pearson, "On Lines and Planes of Closest Fit to Systems of Points in Space" (Phil. Mag., 1901).
    """


@dataclass(frozen=True)
class Umap:
    """Neighbours near one another: what belongs together is seen, far distances mean little.

    McInnes, Healy & Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction"
    (arXiv 1802.03426, 2018), by umap-learn, begun from the PCA so that the same items give the same map. It
    needs the extra `analysis`.

    Args:
        neighbours: how many neighbours of each item are kept near, 2 to 200: few show detail, many the whole.
        min_distance: how near to one another points may be put, 0 to 1.
        seed: of the chance in it.

    Raises:
        InvalidArgumentError: a number is out of range.
    """

    neighbours: int = DEFAULT_NEIGHBOURS
    min_distance: float = DEFAULT_MIN_DISTANCE
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, "umap.")
        check_range("umap.neighbours", self.neighbours, 2, 200)
        check_range("umap.min_distance", self.min_distance, 0, 1)
        check_range("umap.seed", self.seed, 0, (1 << 31) - 1)


@dataclass(frozen=True)
class Map(Question["Layout"]):
    """Where do items lie on a map of two dimensions?

    Args:
        by: how they are laid out.
        filter: only items that satisfy it are on the map; all if empty.
        sample: how many are shown at most, 3 to `MAX_SAMPLE`; of more, as many are taken, spread evenly.
        center: whether the mean of its modality is subtracted from each item first, so that images and texts
            do not part by what they are.
        model: in whose space; None for the collection's first model.

    Raises:
        InvalidArgumentError: a number is out of range.
    """

    by: Pca | Umap = field(default_factory=Pca)
    filter: str = ""
    sample: int = DEFAULT_SAMPLE
    center: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("sample", self.sample, 3, MAX_SAMPLE)


@dataclass(frozen=True, eq=False)
class Layout:
    """Items on a map.

    Attributes:
        ids: of n items, the oldest first.
        points: (n, 2) float32, where they lie.
        items: how many items there were to choose from.
        explained: of a PCA, the share of all variance that the two directions have; None for UMAP.
    """

    ids: Sequence[str]
    points: npt.NDArray[np.float32]
    items: int
    explained: float | None = None
