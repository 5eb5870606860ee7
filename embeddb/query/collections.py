"""Collections: what is decided about them, and what the server says of them and of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from embeddb.arguments import check_fields, check_range
from embeddb.errors import EmbeddbError
from embeddb.options import choice
from embeddb.query.models import ModelInfo
from embeddb.query.puts import PutResult

__all__ = [
    "Backfill",
    "BackfillState",
    "CollectionInfo",
    "CollectionSettings",
    "Encoding",
    "Metric",
    "SpaceStats",
    "Stats",
]


class Metric(StrEnum):
    """How a collection compares vectors. Scores are similarities: larger is nearer, for each of them.

    COSINE: the cosine of the angle. INNER_PRODUCT: of the vectors as they are. L2: minus the Euclidean
    distance of the vectors as they are.
    """

    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"
    L2 = "l2"


class Encoding(StrEnum):
    """How features are stored: FLOAT16 takes half the room and keeps 11 bits of each number."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class CollectionSettings:
    """What is decided about a collection when it is made, and stays.

    Args:
        encoding: of its features on the disk, an `Encoding` or its name.
        keep_payloads: whether images and texts are kept once they are embedded. Without them an item cannot
            be shown, and another model cannot embed it later.
        metric: how vectors are compared, a `Metric` or its name. With another than the cosine, expressions
            are plain sums: neither their operands nor they are brought to unit length.
        index: of each space. "auto" is exact while there is little to read, up to 10,000 vectors at least and
            100,000 at most, and then an IVF index; "Flat" is always exact; else it is a factory string of
            FAISS for an index of the families IVF or HNSW, such as "HNSW32", which is used once there are
            enough vectors for it.
        recall: the share of the exact nearest that searches find with balanced effort, 0.5 to 1; 1 is
            always exact.

    Raises:
        InvalidArgumentError: there is no such encoding or metric, or the recall is out of range.
    """

    encoding: Encoding = Encoding.FLOAT32
    keep_payloads: bool = True
    metric: Metric = Metric.COSINE
    index: str = "auto"
    recall: float = 0.95

    def __post_init__(self) -> None:
        check_fields(self, "settings.")
        object.__setattr__(self, "encoding", choice("settings.encoding", Encoding, self.encoding))
        object.__setattr__(self, "metric", choice("settings.metric", Metric, self.metric))
        check_range("settings.recall", self.recall, 0.5, 1)


@dataclass(frozen=True)
class CollectionInfo:
    """A collection and the models that embed its items; the first one is searched by default."""

    name: str
    models: tuple[str, ...]
    items: int
    settings: CollectionSettings = CollectionSettings()


class BackfillState(StrEnum):
    """Where a backfill is: FAILED says so in its error, and goes on when it is run again."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Backfill:
    """How far a model is in embedding what a collection held before it came.

    Attributes:
        model: its name.
        state: its space is searched once this is COMPLETE.
        items: how many there were when it began.
        done: how many of them were looked at; those that have the model's features already are quickly done.
        embedded: how many were embedded.
        missing: how many could not be: their payload is not stored, or the model cannot encode it.
        listed: the first 1,000 of these, each with the reason.
        seconds: how long it has run.
        error: why it failed, where it did.
    """

    model: str
    state: BackfillState
    items: int
    done: int
    embedded: int
    missing: int
    listed: Sequence[PutResult]
    seconds: float
    error: EmbeddbError | None = None

    @property
    def rate(self) -> float:
        """How many items were embedded in a second."""
        return self.embedded / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class SpaceStats:
    """One space: its model, how many vectors it holds, their dimension, and its index.

    `recall` is the mean recall@10 of live searches that were compared with exact search, 0 to 1; None where
    every search is exact, or none was compared since the index was built.
    """

    model: str
    vectors: int
    dimension: int
    index: str
    recall: float | None = None


@dataclass(frozen=True)
class Stats:
    """The server at a glance. `bytes_on_disk` counts the whole data folder."""

    version: str
    uptime_seconds: float
    bytes_on_disk: int
    models: tuple[ModelInfo, ...]
    collections: tuple[CollectionInfo, ...]
    spaces: Mapping[str, Sequence[SpaceStats]]
