"""Models: how they are run, and what they make of a content."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from embeddb.arguments import check_fields
from embeddb.errors import InvalidArgumentError
from embeddb.options import choice
from embeddb.query.names import check_device
from embeddb.query.operands import Floats

__all__ = [
    "Embedding",
    "Modality",
    "ModelInfo",
    "Precision",
    "Prediction",
    "RunOptions",
    "Running",
]


class Modality(StrEnum):
    """What kind of thing an item, an operand or a model's tower is about."""

    IMAGE = "image"
    TEXT = "text"


class Precision(StrEnum):
    """The type of number that a network calculates in; AUTO takes what is fastest and stays within 0.999."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class RunOptions:
    """How a model is to be run. None of it changes what its features mean, nor its fingerprint.

    Args:
        device: "cpu", "cuda", "cuda:1" and so on; "auto" takes the first GPU, if there is one.
        precision: a `Precision` or its name. What is slower than float32 here, or whose features have a
            cosine below 0.999 to those in float32, is never taken by AUTO.
        lazy: whether the model is loaded at its first use after a start, instead of at the start.
        compile: whether torch.compile may translate the network, where that is faster here by measure.
            Loading then takes minutes, and needs a C++ compiler.
        unload_after: seconds without use after which its memory is freed until the next use; None for never.

    Raises:
        InvalidArgumentError: there is no such precision, the device is not written like these, or the seconds
            are not positive.
    """

    device: str = "auto"
    precision: Precision = Precision.AUTO
    lazy: bool = False
    compile: bool = False
    unload_after: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, "options.")
        object.__setattr__(self, "precision", choice("options.precision", Precision, self.precision))
        check_device("options.device", self.device)
        if self.unload_after is not None and not 0 < self.unload_after < math.inf:
            raise InvalidArgumentError("options.unload_after", self.unload_after, "must be positive seconds")


@dataclass(frozen=True)
class Running:
    """A loaded model as it runs.

    Attributes:
        device: "cpu" or "cuda:0" and so on.
        precision: of its weights; never AUTO.
        bytes: what its weights take.
        compiled: whether it runs as torch.compile has translated it.
    """

    device: str
    precision: Precision
    bytes: int
    compiled: bool = False


@dataclass(frozen=True)
class ModelInfo:
    """A registered model: how it is loaded and what it gives.

    Attributes:
        spec: plain data with the key "loader"; the rest is that loader's.
        modalities: what it encodes; empty for a model whose features are always given.
        dimension: of its features.
        labels: how many classes it predicts; 0 for none.
        fingerprint: a hash over weights, architecture and preprocessing.
        options: how it is to be run.
        running: how it runs; None while it is not loaded, and for a model that encodes nothing.
        refusal: why it could not be loaded, where that was tried last and failed; None else.
    """

    name: str
    spec: Mapping[str, Any]
    modalities: tuple[Modality, ...]
    dimension: int
    labels: int
    fingerprint: str
    options: RunOptions = field(default_factory=RunOptions)
    running: Running | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class Prediction:
    """A class that a model sees in an item, with its probability."""

    label: str
    score: float


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a model makes of one content.

    Attributes:
        features: (d,) float32, as the model's own library gives them.
        predictions: most likely first; empty for a model without classes.
    """

    features: Floats
    predictions: Sequence[Prediction] = ()
