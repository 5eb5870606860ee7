"""The torchvision loader against torchvision itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from PIL import Image as PilImage

import embeddb
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from tests.models.pictures import PICTURES, check_images, opened

LABELS = ["cat", "cup", "rest"]


@pytest.mark.parametrize(
    ("architecture", "classifier"),
    [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3"), ("swin_t", "head")],
)
def test_features_and_predictions_are_those_of_torchvision(
    architecture: str, classifier: str, trusting: Database, model_folder: Path
) -> None:
    torch.manual_seed(5)
    network = torchvision.models.get_model(architecture, weights=None, num_classes=len(LABELS)).eval()
    torch.save(network.state_dict(), model_folder / f"{architecture}.pth")
    spec = {
        "loader": "torchvision",
        "architecture": architecture,
        "checkpoint": f"{architecture}.pth",
        "labels": LABELS,
    }
    trusting.register_model(architecture, spec)
    transform = torchvision.models.get_model_weights(architecture).DEFAULT.transforms()
    pooled: list[torch.Tensor] = []
    network.get_submodule(classifier).register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0][0]))

    def encode(image: PilImage.Image) -> torch.Tensor:
        network(transform(image)[None])
        return pooled[-1]

    check_images(trusting, architecture, encode)
    with torch.inference_mode():
        expected = network(transform(opened(PICTURES["jpeg"]))[None]).softmax(dim=1)[0]
    predictions = trusting.embed(architecture, embeddb.Image(PICTURES["jpeg"])).predictions
    given = {prediction.label: prediction.score for prediction in predictions}
    assert [given[label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-3)


def test_the_transform_is_that_of_the_weights_named(trusting: Database) -> None:
    spec = {"loader": "torchvision", "architecture": "regnet_y_400mf", "seed": 0}
    trusting.register_model("first", spec | {"weights": "IMAGENET1K_V1"})
    trusting.register_model("second", spec | {"weights": "IMAGENET1K_V2"})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.regnet_y_400mf().eval()
    network.fc = torch.nn.Identity()
    weights = torchvision.models.RegNet_Y_400MF_Weights
    for name, transform in (
        ("first", weights.IMAGENET1K_V1.transforms()),
        ("second", weights.IMAGENET1K_V2.transforms()),
    ):
        check_images(trusting, name, lambda image, t=transform: network(t(image)[None])[0])
    assert trusting.model("first").fingerprint != trusting.model("second").fingerprint
    assert trusting.model("first").labels == 0


def test_weights_are_fetched_as_tensors_only_and_bring_their_labels(
    trusting: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's own download would read a pickle whole; nothing is downloaded here."""
    asked: list[Mapping[str, Any]] = []
    state = torchvision.models.shufflenet_v2_x0_5().state_dict()

    def get_state_dict(self: object, **options: object) -> dict[str, torch.Tensor]:
        asked.append(options)
        return dict(state)

    monkeypatch.setattr(torchvision.models.ShuffleNet_V2_X0_5_Weights, "get_state_dict", get_state_dict)
    spec = {"loader": "torchvision", "architecture": "shufflenet_v2_x0_5"}
    assert trusting.register_model("fetched", spec).labels == 1000
    assert asked[0]["weights_only"] is True
    assert asked[0]["check_hash"] is True
    label = trusting.embed("fetched", embeddb.Image(PICTURES["jpeg"])).predictions[0].label
    assert label in torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.meta["categories"]
    with pytest.raises(InvalidArgumentError, match=r"spec\.labels: '2 names' given, .* have 1000 classes"):
        trusting.register_model("wrong", spec | {"labels": ["a", "b"]})


def test_weights_that_cannot_be_fetched_are_said_so(
    trusting: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FailedPreconditionError, match=r"no weights for resnet18: .*no route to host"):
        trusting.register_model("wrong", {"loader": "torchvision", "architecture": "resnet18"})


BASE = {"loader": "torchvision", "architecture": "shufflenet_v2_x0_5"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"loader": "torchvision"}, "spec.architecture"),
        (BASE | {"architecture": "resnet19"}, "spec.architecture"),
        (BASE | {"architecture": "fcn_resnet50"}, "spec.architecture"),
        (BASE | {"architecture": "squeezenet1_0", "seed": 0}, "spec.architecture"),
        (BASE | {"weights": "IMAGENET1K_V9"}, "spec.weights"),
        (BASE | {"seed": 0, "checkpoint": "a.pth"}, "spec"),
        (BASE | {"checkpoint": "none.pth"}, "spec.checkpoint"),
        (BASE | {"seed": 0, "labels": 3}, "spec.labels"),
        (BASE | {"seed": 0, "mean": [0, 0, 0]}, "spec.mean"),
    ],
)
def test_a_mistake_in_the_spec_is_named(spec: Mapping[str, Any], field: str, trusting: Database) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        trusting.register_model("wrong", spec)
    assert caught.value.details["field"] == field
