"""TorchScript and .pt2 programs: where the operator allows them, they give what their modules gave."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as PilImage
from PIL import ImageOps
from torchvision.transforms.functional import resize, to_tensor

import embeddb
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from embeddb.models import ModelSettings
from embeddb_client import Client
from tests.models.pictures import PICTURES, check_images, opened

LABELS = ["dark", "light", "other"]


class Traced(torch.nn.Module):
    """As EuclidesDB wanted them: (predictions, features) of a batch in [0, 1]."""

    def __init__(self, pair: bool) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.classifier = torch.nn.Linear(8, len(LABELS))
        self.pair = pair

    def forward(self, images: torch.Tensor) -> Any:
        features = self.conv(images).relu().mean(dim=(2, 3))
        return (self.classifier(features) * 5, features) if self.pair else features


class Certain(torch.nn.Module):
    """Whatever the features are, the probabilities are these."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("probabilities", torch.tensor([[0.5, 0.3, 0.2]]))

    def forward(self, features: torch.Tensor) -> Any:
        return self.probabilities.expand(features.shape[0], -1), features


def write(
    network: torch.nn.Module, file: Path, dynamic: bool = True, dtype: torch.dtype = torch.float32
) -> None:
    example = torch.rand(2, 3, 40, 60, dtype=dtype)
    if file.suffix == ".pt2":
        shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), file)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.trace(network, example), file)


@pytest.fixture(scope="module", params=["torchscript", "pt2"])
def loader(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize("how", ["squash", "fit"])
def test_features_and_predictions_are_the_module_s(
    how: str, loader: str, trusting: Database, model_folder: Path
) -> None:
    torch.manual_seed(4)
    network = Traced(pair=True).eval()
    file = f"pair-{how}.{loader}" if loader == "torchscript" else f"pair-{how}.pt2"
    write(network, model_folder / file)
    name = f"{loader}-{how}"
    spec = {"loader": loader, "file": file, "size": [40, 60], "resize": how, "labels": LABELS}
    info = trusting.register_model(name, spec)
    assert (info.dimension, info.labels) == (8, 3)

    def batch(image: PilImage.Image) -> torch.Tensor:
        fitted = resize(image, [40, 60]) if how == "squash" else ImageOps.fit(image, (60, 40), 2)
        return to_tensor(fitted)[None]

    check_images(trusting, name, lambda image: network(batch(image))[1][0])
    with torch.inference_mode():
        expected = network(batch(opened(PICTURES["jpeg"])))[0].softmax(dim=1)[0]
    predictions = trusting.embed(name, embeddb.Image(PICTURES["jpeg"])).predictions
    assert {p.label: p.score for p in predictions} == pytest.approx(
        dict(zip(LABELS, expected.tolist(), strict=True)), abs=1e-3
    )


def test_probabilities_are_taken_as_they_are(loader: str, trusting: Database, model_folder: Path) -> None:
    torch.manual_seed(5)
    network = torch.nn.Sequential(Traced(pair=False), Certain()).eval()
    file = f"certain-{loader}.pt2" if loader == "pt2" else "certain.ts"
    write(network, model_folder / file)
    spec = {"loader": loader, "file": file, "size": [40, 60], "labels": LABELS, "scores": "probabilities"}
    trusting.register_model(f"certain-{loader}", spec)
    predictions = trusting.embed(f"certain-{loader}", embeddb.Image(PICTURES["jpeg"])).predictions
    assert {p.label: p.score for p in predictions} == pytest.approx({"dark": 0.5, "light": 0.3, "other": 0.2})


def test_features_alone_will_do(loader: str, trusting: Database, model_folder: Path) -> None:
    file = f"alone-{loader}.pt2" if loader == "pt2" else "alone.ts"
    write(Traced(pair=False), model_folder / file)
    spec = {"loader": loader, "file": file, "size": [40, 60]}
    assert trusting.register_model(f"alone-{loader}", spec).labels == 0
    with pytest.raises(InvalidArgumentError, match=r"spec\.labels: '3 names' given, must not be given"):
        trusting.register_model("wrong", spec | {"labels": LABELS})


def test_without_permission_nothing_runs(loader: str, model_folder: Path, tmp_path: Path) -> None:
    settings = ModelSettings(folder=model_folder)
    with (
        embeddb.open(tmp_path, models=settings) as database,
        pytest.raises(PermissionDeniedError, match="--allow-programs"),
    ):
        database.register_model("wrong", {"loader": loader, "file": "whatever"})


def test_a_client_is_told_which_permission_is_missing(loader: str, client: Client) -> None:
    with pytest.raises(PermissionDeniedError, match="--allow-programs"):
        client.register_model("wrong", {"loader": loader, "file": "whatever"})


class Gives(Traced):
    """Gives something else than it should."""

    def __init__(self, what: str) -> None:
        super().__init__(pair=True)
        self.what = what

    def forward(self, images: torch.Tensor) -> Any:
        predictions, features = super().forward(images)
        whole_numbers = (features * 100).long()
        given = {
            "Dict": {"predictions": predictions, "features": features},
            "Tuple": (predictions, features, features),
            "Int64": (predictions, whole_numbers),
            "Dropout": (predictions, torch.nn.functional.dropout(features, 0.2)),
        }
        return given[self.what]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("Dict", r"spec\.file: 'dict' given, it must give features, or the pair"),
        ("Tuple", r"spec\.file: 'tuple\(Tensor, Tensor, Tensor\)' given, it must give features, or the pair"),
        ("Int64", r"spec\.file: 'torch\.int64' given, its features must be of a floating type"),
        ("Dropout", "evaluation mode"),
    ],
)
def test_what_a_program_must_not_give_is_refused_at_once(
    what: str, says: str, trusting: Database, model_folder: Path
) -> None:
    torch.manual_seed(6)
    write(Gives(what).eval(), model_folder / f"{what}.pt2")
    with pytest.raises((InvalidArgumentError, FailedPreconditionError), match=says):
        trusting.register_model("wrong", {"loader": "pt2", "file": f"{what}.pt2", "size": [40, 60]})


def test_weights_in_float64_are_refused_by_name(loader: str, trusting: Database, model_folder: Path) -> None:
    file = f"double-{loader}.pt2" if loader == "pt2" else "double.ts"
    write(Traced(pair=False).double(), model_folder / file, dtype=torch.float64)
    says = r"fails in it.*: .*(Float|float).*Its input is torch\.float32 and its weights are torch\.float64"
    with pytest.raises(InvalidArgumentError, match=says):
        trusting.register_model("wrong", {"loader": loader, "file": file, "size": [40, 60]})


def test_what_was_traced_in_training_mode_is_refused_as_that(trusting: Database, model_folder: Path) -> None:
    torch.manual_seed(6)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 40 * 60, 8), torch.nn.Dropout(0.5))
    example = torch.rand(2, 3, 40, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.trace(network, example, check_trace=False), model_folder / "training.ts")
    with pytest.raises(FailedPreconditionError, match="evaluation mode"):
        trusting.register_model("wrong", {"loader": "torchscript", "file": "training.ts", "size": [40, 60]})


def test_a_picture_of_another_size_is_named(loader: str, trusting: Database, model_folder: Path) -> None:
    file = f"sized-{loader}.pt2" if loader == "pt2" else "sized.ts"
    write(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 40 * 60, 8)), model_folder / file)
    with pytest.raises(
        InvalidArgumentError, match=r"'a batch of 1' given, fails in it, of 224 x 224 pixels: "
    ):
        trusting.register_model("wrong", {"loader": loader, "file": file})


def test_a_fixed_batch_is_refused_at_once(trusting: Database, model_folder: Path) -> None:
    write(Traced(pair=False), model_folder / "fixed.pt2", dynamic=False)
    with pytest.raises(InvalidArgumentError, match=r"spec\.file: 'a batch of 1' given, fails"):
        trusting.register_model("wrong", {"loader": "pt2", "file": "fixed.pt2", "size": [40, 60]})


def test_the_wrong_number_of_labels_is_refused(loader: str, trusting: Database, model_folder: Path) -> None:
    file = "labels.pt2" if loader == "pt2" else "labels.ts"
    write(Traced(pair=True), model_folder / file)
    spec = {"loader": loader, "file": file, "size": [40, 60], "labels": ["one", "two"]}
    with pytest.raises(InvalidArgumentError, match=r"spec\.labels"):
        trusting.register_model("wrong", spec)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({}, "spec.file"),
        ({"file": "none"}, "spec.file"),
        ({"file": "damaged"}, "spec.file"),
        ({"file": "damaged", "resize": "crop"}, "spec.resize"),
        ({"file": "damaged", "scores": "percent"}, "spec.scores"),
        ({"file": "damaged", "size": [0, 1]}, "spec.size"),
        ({"file": "damaged", "mean": [0, 0, 0]}, "spec.mean"),
    ],
)
def test_a_mistake_in_the_spec_is_named(
    keys: Mapping[str, Any], field: str, loader: str, trusting: Database, model_folder: Path
) -> None:
    (model_folder / "damaged").write_bytes(b"PK damaged")
    with pytest.raises(InvalidArgumentError) as caught:
        trusting.register_model("wrong", {"loader": loader} | keys)
    assert caught.value.details["field"] == field
