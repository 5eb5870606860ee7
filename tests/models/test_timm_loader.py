"""The timm loader against timm itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import timm
import timm.data
import torch

import embeddb
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.models.loaders.starter import CLASSIFIER
from tests.models.pictures import PICTURES, Encode, check_images, opened

LABELS = ["cat", "cup", "rest"]


def library(network: Any) -> Encode:
    """Features as timm's documentation says to take them."""
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    network.eval()
    return lambda image: network.forward_head(
        network.forward_features(transform(image)[None]), pre_logits=True
    )[0]


@pytest.mark.parametrize("architecture", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_features_are_those_of_timm(architecture: str, trusting: Database, model_folder: Path) -> None:
    torch.manual_seed(6)
    network = timm.create_model(architecture, num_classes=len(LABELS))
    safetensors.torch.save_file(network.state_dict(), model_folder / f"{architecture}.safetensors")
    spec = {
        "loader": "timm",
        "architecture": architecture,
        "checkpoint": f"{architecture}.safetensors",
        "labels": LABELS,
    }
    info = trusting.register_model(architecture, spec)
    assert (info.modalities, info.labels) == (("image",), 3)
    encode = library(network)
    check_images(trusting, architecture, encode)
    assert info.dimension == encode(opened(PICTURES["photograph"])).shape[0]


def test_predictions_are_those_of_timm(trusting: Database, model_folder: Path) -> None:
    torch.manual_seed(7)
    network = timm.create_model("test_resnet", num_classes=len(LABELS)).eval()
    # A random classifier is undecided; this one is not.
    torch.nn.init.normal_(network.get_classifier().weight, std=2.0)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, model_folder / "decided.pth")
    spec = {"loader": "timm", "architecture": "test_resnet", "checkpoint": "decided.pth", "labels": LABELS}
    trusting.register_model("decided", spec)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        batch = torch.stack([transform(opened(data)) for data in PICTURES.values()])
        expected = network(batch).softmax(dim=1)
    for data, row in zip(PICTURES.values(), expected, strict=True):
        predictions = trusting.embed("decided", embeddb.Image(data)).predictions
        given = {prediction.label: prediction.score for prediction in predictions}
        assert [given[label] for label in LABELS] == pytest.approx(row.tolist(), abs=1e-3)
        assert predictions[0].score == max(given.values())


def test_real_weights_see_a_cat_and_a_cup(trusting: Database) -> None:
    trusting.register_model("classifier", CLASSIFIER)
    seen = {
        name: trusting.embed("classifier", embeddb.Image(PICTURES[name])).predictions[0].label
        for name in ("photograph", "rotated by EXIF", "jpeg")
    }
    assert seen["photograph"] in ("tabby cat", "tiger cat", "Egyptian Mau")
    assert seen["jpeg"] in ("espresso", "cup", "coffee mug")
    assert CLASSIFIER["labels"] == "imagenet"
    assert set(seen.values()) <= set(open_clip.IMAGENET_CLASSNAMES)


def test_mean_and_std_take_the_place_of_the_library_s(trusting: Database) -> None:
    plain = {"loader": "timm", "architecture": "test_resnet", "seed": 1}
    trusting.register_model("plain", plain)
    trusting.register_model("shifted", plain | {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = timm.create_model("test_resnet")
    network.pretrained_cfg["mean"], network.pretrained_cfg["std"] = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    check_images(trusting, "shifted", library(network))
    image = embeddb.Image(PICTURES["jpeg"])
    assert not np.allclose(trusting.embed("plain", image).features, trusting.embed("shifted", image).features)
    assert trusting.model("plain").fingerprint != trusting.model("shifted").fingerprint


def test_order_matches_tensors_of_other_names(trusting: Database, model_folder: Path) -> None:
    torch.manual_seed(8)
    network = timm.create_model("test_vit", num_classes=0)
    torch.save(network.state_dict(), model_folder / "headless.pt")
    renamed = {f"encoder.{n}": tensor for n, tensor in enumerate(network.state_dict().values())}
    torch.save(renamed, model_folder / "renamed.pt")
    spec = {"loader": "timm", "architecture": "test_vit", "labels": []}
    by_name = trusting.register_model("headless", spec | {"checkpoint": "headless.pt"})
    in_order = trusting.register_model("renamed", spec | {"checkpoint": "renamed.pt", "match": "order"})
    assert in_order.fingerprint == by_name.fingerprint
    assert in_order.labels == 0
    check_images(trusting, "renamed", library(network))
    with pytest.raises(InvalidArgumentError, match=r"spec\.checkpoint: .*missing.*left over"):
        trusting.register_model("wrong", spec | {"checkpoint": "renamed.pt"})
    with pytest.raises(InvalidArgumentError, match=r"spec\.checkpoint: '78 tensors' given, .* has 80"):
        trusting.register_model("wrong", BASE | {"checkpoint": "renamed.pt", "match": "order"})


def test_weights_that_are_not_there_are_said_so(trusting: Database) -> None:
    for spec in ({"pretrained": True}, {"seed": 0}):
        with pytest.raises(FailedPreconditionError, match=r"timm cannot make test_vit\.no_such_tag"):
            trusting.register_model(
                "wrong", {"loader": "timm", "architecture": "test_vit.no_such_tag"} | spec
            )


BASE = {"loader": "timm", "architecture": "test_vit"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"loader": "timm"}, "spec.architecture"),
        (BASE, "spec"),
        (BASE | {"seed": 0, "pretrained": True}, "spec"),
        (BASE | {"seed": -1}, "spec.seed"),
        (BASE | {"seed": 2**63}, "spec.seed"),
        (BASE | {"seed": True}, "spec.seed"),
        (BASE | {"seed": "1"}, "spec.seed"),
        (BASE | {"seed": 0, "architecture": "vit_of_nobody"}, "spec.architecture"),
        (BASE | {"seed": 0, "architecture": "local-dir:/etc"}, "spec.architecture"),
        (BASE | {"seed": 0, "labels": ["a", 2]}, "spec.labels"),
        (BASE | {"seed": 0, "labels": "cats"}, "spec.labels"),
        (BASE | {"seed": 0, "mean": [0.5, 0.5]}, "spec.mean"),
        (BASE | {"seed": 0, "mean": ["a", "b", "c"]}, "spec.mean"),
        (BASE | {"seed": 0, "std": [1, 0, 1]}, "spec.std"),
        (BASE | {"seed": 0, "std": [1, float("nan"), 1]}, "spec"),  # no JSON
        (BASE | {"seed": 0, "match": "shape"}, "spec.match"),
        (BASE | {"seed": 0, "colour": "red"}, "spec.colour"),
    ],
)
def test_a_mistake_in_the_spec_is_named(spec: Mapping[str, Any], field: str, trusting: Database) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        trusting.register_model("wrong", spec)
    assert caught.value.details["field"] == field
    assert "wrong" not in {info.name for info in trusting.models()}
