"""The triplet loader against the same nets written out by hand, as the papers' own code has them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision.models
from PIL import Image as PilImage
from torch import nn
from torch.nn.functional import normalize
from torchvision import transforms

import embeddb
from embeddb.database import Database
from embeddb.errors import InvalidArgumentError
from tests.models.pictures import PICTURES, check_images

TRANSFORM = transforms.Compose(
    [
        transforms.Resize((96, 48)),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


class StrongBaseline(nn.Module):
    """Luo et al.'s model, with its names: base, bottleneck, classifier; the last stride is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.base = torchvision.models.resnet18()
        self.base.fc = nn.Identity()
        self.base.layer4[0].conv1.stride = (1, 1)
        self.base.layer4[0].downsample[0].stride = (1, 1)
        self.bottleneck = nn.BatchNorm1d(512)
        self.classifier = nn.Linear(512, 751, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.bottleneck(self.base(images))


class TriNet(nn.Module):
    """Hermans et al.'s model: a hidden layer with batch normalisation, and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = timm.create_model("test_resnet", num_classes=0)
        self.fc1, self.bn, self.fc2 = nn.Linear(96, 64), nn.BatchNorm1d(64), nn.Linear(64, 16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.bn(self.fc1(self.trunk(images))).relu())


def settle(network: nn.Module) -> nn.Module:
    """Give batch normalisation something to normalise by, as training does."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
    return network.eval()


def embed(network: nn.Module, image: PilImage.Image, flip: bool) -> torch.Tensor:
    batch = TRANSFORM(image)[None]
    features = network(batch)
    if flip:
        features = (features + network(batch.flip(3))) / 2
    return normalize(features, dim=1)[0]


@pytest.mark.parametrize("flip", [False, True])
def test_the_strong_baseline_loads_with_its_own_names(
    flip: bool, trusting: Database, model_folder: Path
) -> None:
    torch.manual_seed(2)
    network = settle(StrongBaseline())
    # Files of that time have no counters of batches.
    state = {n: t for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(state, model_folder / "baseline.pth")
    name = f"baseline-{flip}"
    info = trusting.register_model(
        name,
        {
            "loader": "triplet",
            "trunk": "resnet18",
            "size": [96, 48],
            "last_stride": 1,
            "neck": True,
            "flip": flip,
            "checkpoint": "baseline.pth",
            "prefixes": {"base.": "trunk.", "bottleneck.": "neck.", "classifier.": None},
        },
    )
    assert info.dimension == 512
    check_images(trusting, name, lambda image: embed(network, image, flip))


def test_trinet_loads_with_its_own_names(trusting: Database, model_folder: Path) -> None:
    torch.manual_seed(3)
    network = settle(TriNet())
    torch.save({"state_dict": network.state_dict()}, model_folder / "trinet.pt")
    prefixes = {"fc1.": "hidden.0.", "bn.": "hidden.1.", "fc2.": "linear."}
    spec = {
        "loader": "triplet",
        "trunk": "test_resnet",
        "size": [96, 48],
        "hidden": 64,
        "dimension": 16,
        "checkpoint": "trinet.pt",
        "prefixes": prefixes,
    }
    assert trusting.register_model("trinet", spec).dimension == 16
    check_images(trusting, "trinet", lambda image: embed(network, image, False))


def test_a_transformer_takes_any_size(trusting: Database, model_folder: Path) -> None:
    torch.manual_seed(4)
    network = timm.create_model("test_vit", img_size=(96, 48), num_classes=0).eval()
    state = {f"trunk.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(state, model_folder / "transformer.pt")
    spec = {"loader": "triplet", "trunk": "test_vit", "size": [96, 48], "checkpoint": "transformer.pt"}
    trusting.register_model("transformer", spec)
    check_images(trusting, "transformer", lambda image: embed(network, image, False))


@pytest.mark.parametrize("trunk", ["mobilenetv3_small_050", "test_convnext", "test_efficientnet"])
def test_a_trunk_of_its_own_width_fits_its_head(trunk: str, trusting: Database) -> None:
    spec = {"loader": "triplet", "trunk": trunk, "size": 64, "seed": 0}
    width = timm.create_model(trunk, num_classes=0).eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    assert trusting.register_model(trunk, spec).dimension == width
    assert trusting.register_model(f"{trunk}-8", spec | {"dimension": 8}).dimension == 8


def test_features_have_unit_length_and_flip_makes_mirrors_alike(trusting: Database) -> None:
    spec = {"loader": "triplet", "trunk": "test_resnet", "size": 64, "neck": True, "seed": 0}
    trusting.register_model("once", spec)
    trusting.register_model("both", spec | {"flip": True})
    image = PilImage.open(io.BytesIO(PICTURES["photograph"]))
    mirrored = image.transpose(PilImage.Transpose.FLIP_LEFT_RIGHT)
    cosines = {}
    for name in ("once", "both"):
        one, other = (trusting.embed(name, embeddb.Image(each)).features for each in (image, mirrored))
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
        cosines[name] = float(one @ other)
    assert cosines["both"] == pytest.approx(1, abs=1e-5)
    assert cosines["once"] < 0.99999
    assert trusting.model("once").fingerprint != trusting.model("both").fingerprint


BASE = {"loader": "triplet", "trunk": "test_resnet", "seed": 0}
FILE = {"loader": "triplet", "trunk": "test_resnet", "checkpoint": "trunk-alone.pt"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"loader": "triplet", "seed": 0}, "spec.trunk"),
        ({"loader": "triplet", "trunk": "test_resnet"}, "spec"),
        (BASE | {"pretrained": True}, "spec"),
        (BASE | {"trunk": "resnet_of_nobody"}, "spec.trunk"),
        (BASE | {"size": [256]}, "spec.size"),
        (BASE | {"size": [256, 0]}, "spec.size"),
        (BASE | {"size": True}, "spec.size"),
        (BASE | {"hidden": 0}, "spec.hidden"),
        (BASE | {"dimension": 10**9}, "spec.dimension"),
        (BASE | {"dimension": "big"}, "spec.dimension"),
        (BASE | {"last_stride": 3}, "spec.last_stride"),
        (BASE | {"last_stride": 1, "trunk": "test_vit"}, "spec.last_stride"),
        (BASE | {"last_stride": 1, "trunk": "resnet18d"}, "spec.last_stride"),
        (BASE | {"prefixes": {"a": "b"}}, "spec.prefixes"),
        (FILE | {"prefixes": {"a": 1}}, "spec.prefixes"),
        (FILE | {"neck": True}, "spec.checkpoint"),
        (FILE | {"prefixes": {"trunk.layer4.": None}}, "spec.checkpoint"),
        ({"loader": "triplet", "trunk": "resnet18", "pretrained": True, "neck": True}, "spec.pretrained"),
    ],
)
def test_a_mistake_in_the_spec_is_named(
    spec: Mapping[str, Any], field: str, trusting: Database, model_folder: Path
) -> None:
    trunk = timm.create_model("test_resnet", num_classes=0).state_dict()
    torch.save({f"trunk.{name}": tensor for name, tensor in trunk.items()}, model_folder / "trunk-alone.pt")
    with pytest.raises(InvalidArgumentError) as caught:
        trusting.register_model("wrong", spec)
    assert caught.value.details["field"] == field
