"""Features that always come with the item: a space without a network.

    {"loader": "vectors", "dimension": 512}

Trusts nothing: there is nothing to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image as PilImage

from embeddb.errors import InvalidArgumentError
from embeddb.models.fingerprint import fingerprint
from embeddb.models.network import Network, Output
from embeddb.models.spec import Spec
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["load_vectors"]

MAX_DIMENSION = 65_536


class _Vectors:
    """Encodes nothing; `prepare` and `forward` are never reached, for it has no modalities."""

    modalities: tuple[Modality, ...] = ()
    labels: tuple[str, ...] = ()

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.module = torch.nn.Module()
        self.fingerprint = fingerprint({}, {"loader": "vectors", "dimension": dimension})

    def prepare(self, content: PilImage.Image | str) -> Any:
        raise InvalidArgumentError("content", type(content).__name__, "the model encodes nothing")

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        raise InvalidArgumentError("content", modality, "the model encodes nothing")


def load_vectors(spec: Spec, settings: ModelSettings) -> Network:
    """Make the space that a spec describes."""
    dimension = spec.require("dimension", int)
    if not 1 <= dimension <= MAX_DIMENSION:
        raise InvalidArgumentError("spec.dimension", dimension, f"must be 1 to {MAX_DIMENSION}")
    spec.done()
    return _Vectors(dimension)
