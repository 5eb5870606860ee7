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
