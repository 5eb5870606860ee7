"""Classes of an operator's own, for the python loader; some of them are no networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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
        self.fingerprint = f"{type(self).__name__} times {times}"

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


class FromNumpy(Colours):
    """Weights in float64, as numpy's arrays are, and inputs in it too."""

    def __init__(self, *, inputs: bool) -> None:
        super().__init__()
        self.module = torch.nn.Linear(3, 3)
        self.module.weight = torch.nn.Parameter(torch.tensor(np.arange(9.0).reshape(3, 3)))
        self.module.bias = torch.nn.Parameter(torch.tensor(np.ones(3)))
        self.inputs = inputs

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        prepared = super().prepare(content)
        return prepared.double() if self.inputs else prepared


class Choosy(Colours):
    """Fails on what is red, before it is run or while it is."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        prepared = super().prepare(content)
        self.check(prepared, "prepare")
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        self.check(torch.stack(tuple(prepared)), "forward")
        return super().forward(modality, prepared)

    def check(self, colours: torch.Tensor, where: str) -> None:
        if where == self.where and (colours[..., 0] == 1).any():
            raise ArithmeticError("too red")


class Nothing(Colours):
    """As a network ends in a ReLU that lets nothing through."""

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        return Output((-super().forward(modality, prepared).features).relu())


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


class Dropping(Colours):
    """As a network with dropout that is still in training mode."""

    dimension = 300

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        features = super().forward(modality, prepared).features.repeat(1, 100)
        return Output(torch.nn.functional.dropout(features, 0.2))


class Centring(Colours):
    """What an input gives depends on its batch, as it does with batch norms in training mode."""

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        features = super().forward(modality, prepared).features
        return Output(features - features.mean(dim=0) / 2)


class FirstAlone(Colours):
    """One row, however many inputs there are."""

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        return Output(super().forward(modality, prepared).features[:1])


class BareFeatures(Colours):
    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Any:
        return super().forward(modality, prepared).features


class WholeNumbers(Colours):
    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        return Output((super().forward(modality, prepared).features * 255).long())


class Classes(Colours):
    """Predictions of two classes: how red an image is, and how blue; of one without red, NaN."""

    labels = ("red", "blue")

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        features = super().forward(modality, prepared).features
        return Output(features, self.scores(features[:, [0, 2]]))

    def scores(self, ends: torch.Tensor) -> torch.Tensor:
        return (ends / ends[:, :1] * ends).softmax(dim=1)


class NumbersAsLabels(Classes):
    labels = (0, 1)  # type: ignore[assignment]


class Logits(Classes):
    def scores(self, ends: torch.Tensor) -> torch.Tensor:
        return ends * 10 - 2


not_a_class = 3
