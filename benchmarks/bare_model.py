"""A model as the server runs it, and nothing around it; end_to_end.py starts it and orders it to run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import clock
import orders
from PIL import Image as PilImage

from embeddb.models import Registry
from embeddb.query import Modality, RunOptions
from embeddb.settings import ModelSettings


class BareModel:
    """A model, and a batch that is prepared already.

    Args:
        spec: says how to load it.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        settings = ModelSettings()
        registry = Registry(settings)
        registry.register("model", spec, RunOptions())
        self._runner = registry.get("model")._runner
        self._batch = [self._runner.prepare(PilImage.new("RGB", (640, 480)))] * settings.max_batch

    def rate(self, seconds: float) -> float:
        """Images a second, in whole batches."""

        def step() -> int:
            self._runner.forward(Modality.IMAGE, self._batch)
            return len(self._batch)

        return clock.per_second(step, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=json.loads, help="as JSON")
    parser.add_argument("--orders", type=int, required=True, help="the file descriptor that they come from")
    options = parser.parse_args()
    orders.obey(options.orders, BareModel(options.spec))


if __name__ == "__main__":
    main()
