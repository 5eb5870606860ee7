"""Classes of an operator's own, for the python loader; some of them are no networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image as PilImage
from torchvision.transforms.functional import to_tensor

from embeddb.models import Output
from embeddb.query import Modality


class Colours:
    """The mean colour of an image, times a number."""

    modalities = (Modality.IMAGE,)
    labels: tuple[str, ...] = ()
    dimension = 3

    def __init__(self, times: float = 1.0) -> None:
        self.module = torch.nn.Identity()
        self.times = times
        self.fingerprint = f"colours times {times}"

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        return to_tensor(content).mean(dim=(1, 2))

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        return Output(self.module(torch.stack(tuple(prepared))) * self.times)


class Trained(Colours):
    """Weights that would have gradients, and nothing said about them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.module = torch.nn.Linear(3, 3)


class WrongDimension(Colours):
    dimension = 4


class LabelsWithoutPredictions(Colours):
    labels = "abc"  # type: ignore[assignment]


class NoFingerprint(Colours):
    def __init__(self) -> None:
        super().__init__()
        del self.fingerprint


class Failing(Colours):
    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        raise ArithmeticError("out of cheese")


not_a_class = 3
