"""Which items of a space belong together?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embeddb.arguments import check_fields, check_range
from embeddb.questions.question import Question

__all__ = ["Cluster", "Clustering", "Clusters", "Duplicates", "Hdbscan", "KMeans"]

DEFAULT_DUPLICATE = 0.95
"""The cosine from which on items are nearly the same by default."""
DEFAULT_ITERATIONS = 25
"""How often k-means moves its centres by default."""
DEFAULT_MIN_SIZE = 5
"""The fewest items of a cluster that HDBSCAN finds by default."""
DEFAULT_CENTRAL = 3
"""How many items of each cluster are named by default."""
MAX_CLUSTERS = 1_000
"""Most clusters that k-means makes."""
MAX_ITERATIONS = 1_000
"""Most rounds of k-means."""
MAX_DENSE = 10_000
"""Most items that HDBSCAN takes: it compares all pairs, in 8 bytes each."""
NOISE = -1
"""The label of items that HDBSCAN puts into no cluster."""


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
        check_range("threshold", self.threshold, -1, 1)


@dataclass(frozen=True)
class KMeans:
    """A chosen number of clusters, each around its centre; by the cosine they are compared by angle alone.

    Lloyd, "Least Squares Quantization in PCM" (IEEE Transactions on Information Theory, 1982), by FAISS. Up
    to 256 centres are chosen by k-means++: Arthur & Vassilvitskii, "k-means++: The Advantages of Careful
    Seeding" (SODA 2007); more begin at items drawn by chance. Where a collection compares by the cosine, it
    is spherical: Dhillon & Modha, "Concept Decompositions for Large Sparse Text Data Using Clustering"
    (Machine Learning, 2001). The centres are found on a sample of up to 256 items a cluster, spread evenly;
    every item is then given to its nearest centre.

    Args:
        k: how many clusters, 2 to `MAX_CLUSTERS`.
        iterations: how often the centres are moved, 1 to `MAX_ITERATIONS`.
        seed: of the chance in it; the same one gives the same clusters of the same items.

    Raises:
        InvalidArgumentError: a number is out of range.
    """

    k: int
    iterations: int = DEFAULT_ITERATIONS
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, "k_means.")
        check_range("k_means.k", self.k, 2, MAX_CLUSTERS)
        check_range("k_means.iterations", self.iterations, 1, MAX_ITERATIONS)
        check_range("k_means.seed", self.seed, 0, (1 << 31) - 1)


@dataclass(frozen=True)
class Hdbscan:
    """As many clusters as there are dense places; what lies between them is noise.

    Campello, Moulavi & Sander, "Density-Based Clustering Based on Hierarchical Density Estimates" (PAKDD
    2013), by scikit-learn (the extra `analysis`), over the Euclidean distances of unit vectors, or of the
    vectors as they are where a collection does not compare by the cosine. All pairs of items are compared, so
    it takes `MAX_DENSE` items at most.

    Args:
        min_size: the fewest items that make a cluster, from 2 on.
        neighbours: how many items, itself among them, have to be near for a place to be dense; None for as
            many as `min_size`.

    Raises:
        InvalidArgumentError: a number is out of range.
    """

    min_size: int = DEFAULT_MIN_SIZE
    neighbours: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "hdbscan.")
        check_range("hdbscan.min_size", self.min_size, 2, MAX_DENSE)
        if self.neighbours is not None:
            check_range("hdbscan.neighbours", self.neighbours, 1, MAX_DENSE)


@dataclass(frozen=True)
class Clusters(Question["Clustering"]):
    """Which items of a space belong together?

    Args:
        by: how clusters are found.
        filter: only items that satisfy it are clustered; all if empty.
        field: a key of the metadata under which each item's label is stored; none is if empty. It costs no
            inference. Items are written in batches, each of them whole or not at all; an item whose content
            was replaced meanwhile is left as it is, and other changes of its metadata are kept.
        central: how many items of each cluster are named.
        center: whether the mean of its modality is subtracted from each item first, so that images and texts
            do not part by what they are.
        model: in whose space; None for the collection's first model.

    Raises:
        InvalidArgumentError: a number is out of range.
    """

    by: KMeans | Hdbscan
    filter: str = ""
    field: str = ""
    central: int = DEFAULT_CENTRAL
    center: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("central", self.central, 0, 1000)


@dataclass(frozen=True)
class Cluster:
    """A group of items.

    Attributes:
        label: its number; 0 is the largest cluster.
        size: how many items it has.
        central: the ids of those nearest to its mean, the nearest first.
    """

    label: int
    size: int
    central: Sequence[str]


@dataclass(frozen=True)
class Clustering:
    """The clusters of a space.

    Attributes:
        labels: the number of each item's cluster by its id, `NOISE` for none.
        clusters: the largest first.
        inertia: the sum of the squared distances of all items to the centres of their clusters, which k-means
            makes small: of unit vectors where the collection compares by the cosine. None for HDBSCAN.
        written: how many items hold their label in their metadata since.
    """

    labels: Mapping[str, int]
    clusters: Sequence[Cluster]
    inertia: float | None = None
    written: int = 0

    @property
    def noise(self) -> int:
        """How many items are in no cluster."""
        return len(self.labels) - sum(each.size for each in self.clusters)
