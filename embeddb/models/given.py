"""Features that always come with the item: a model without a network, and so without torch.

    {"loader": "vectors", "dimension": 512}

Trusts nothing: there is nothing to load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embeddb.batching import QueueFigures
from embeddb.errors import InvalidArgumentError
from embeddb.models.fingerprint import fingerprint
from embeddb.models.spec import Spec
from embeddb.models.usage import Usage
from embeddb.query import ModelInfo, RunOptions

__all__ = ["LOADER", "Given"]

LOADER = "vectors"
MAX_DIMENSION = 65_536


class Given:
    """A model that encodes nothing, with what is asked of any that is loaded (see `Model`).

    Args:
        reading: the spec's keys beside "loader".

    Raises:
        InvalidArgumentError: the spec is malformed, or it is to be compiled.
    """

    labels: tuple[str, ...] = ()
    logits = None
    running = None

    def __init__(self, name: str, spec: Mapping[str, Any], options: RunOptions, reading: Spec) -> None:
        dimension = reading.require("dimension", int)
        if not 1 <= dimension <= MAX_DIMENSION:
            raise InvalidArgumentError("spec.dimension", dimension, f"must be 1 to {MAX_DIMENSION}")
        reading.done()
        if options.compile:
            allowed = "must be false: models of this loader have nothing to compile"
            raise InvalidArgumentError("options.compile", True, allowed)
        self.info = ModelInfo(
            name=name,
            spec=spec,
            modalities=(),
            dimension=dimension,
            labels=0,
            fingerprint=fingerprint({}, {"loader": LOADER, "dimension": dimension}),
            options=options,
        )
        self.usage = Usage()

    def queues(self) -> dict[str, QueueFigures]:
        """It has none."""
        return {}

    def close(self) -> None:
        """Nothing was taken."""
