"""Nets for re-identification and faces: a trunk of timm's, an embedding head, features of unit length.

    {"loader": "triplet", "trunk": "resnet50", "size": [256, 128], "last_stride": 1, "neck": true,
     "flip": true, "checkpoint": "market.pth",
     "prefixes": {"base.": "trunk.", "bottleneck.": "neck.", "classifier.": null}}
    {"loader": "triplet", "trunk": "resnet50", "size": [256, 128], "hidden": 1024, "dimension": 128,
     "checkpoint": "mine.pt"}

Keys:
    trunk: a timm model name; its pooled features go into the head.
    size: [height, width] of the input in pixels, or one number for both (default 224); pictures are squashed
        to it.
    hidden: a hidden layer of this width, with batch normalisation and ReLU (Hermans et al., "In Defense of
        the Triplet Loss for Person Re-Identification", 2017, have 1024); none by default.
    dimension: a linear layer to this many features; by default there is none.
    neck: batch normalisation as the last layer (Luo et al., "Bag of Tricks and a Strong Baseline for Deep
        Person Re-identification", CVPRW 2019: the BN-neck); off by default.
    last_stride: 1 keeps a ResNet's last stage at the resolution of the one before (Luo et al.); 2 by default.
    flip: test-time augmentation, the mean with the mirrored picture's embedding; off by default.
    checkpoint: a file in the server's model folder, whose tensors are named "trunk.", "hidden.", "linear."
        and "neck." ...
    prefixes: ... or whose names begin otherwise: an object from their prefixes to ours, null for what is left
        out. The longest prefix that fits a name is replaced; a name that none fits stays.
    pretrained: instead of a checkpoint: the trunk's weights from timm's hub, for a head without layers.
    seed: instead: initialise at random from this number, for tests and measurements.
    mean, std: three numbers each; ImageNet's by default.

Trusts tensors only: checkpoints are read with `weights_only=True` or as safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import timm
import timm.data
import torch
from PIL import Image as PilImage
from torch import nn
from torch.nn.functional import normalize
from torchvision import transforms

from embeddb.errors import EmbeddbError, FailedPreconditionError, InvalidArgumentError
from embeddb.models.failures import in_a_line
from embeddb.models.fingerprint import fingerprint
from embeddb.models.loaders.keys import exactly_one, seeded, take_pair, take_seed, take_statistics
from embeddb.models.network import Network, Output
from embeddb.models.resizing import quick_resize
from embeddb.models.spec import Spec, model_file
from embeddb.models.weights import load_by_name, read_state_dict, rename
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["Embedder", "EmbedderShape", "evaluation_transform", "load_triplet"]

MAX_WIDTH = 65_536


@dataclass(frozen=True)
class EmbedderShape:
    """What an `Embedder` consists of; see the keys above."""

    trunk: str
    size: tuple[int, int] = (224, 224)
    hidden: int | None = None
    dimension: int | None = None
    neck: bool = False
    last_stride: int = 2


class Embedder(nn.Module):
    """A trunk and an embedding head; for training too.

    Args:
        shape: its layers.
        pretrained: fetch the trunk's weights from timm's hub.

    Raises:
        InvalidArgumentError: the last stride of that trunk cannot be 1.
    """

    def __init__(self, shape: EmbedderShape, pretrained: bool = False) -> None:
        super().__init__()
        self.trunk = timm.create_model(shape.trunk, pretrained=pretrained, num_classes=0)
        if hasattr(self.trunk, "set_input_size"):
            # Transformers are made for one size.
            self.trunk.set_input_size(img_size=shape.size)
        if shape.last_stride == 1:
            _keep_resolution(self.trunk)
        # A trunk's own head may widen its features (MobileNetV3's does).
        width: int = getattr(self.trunk, "head_hidden_size", None) or self.trunk.num_features
        self.hidden: nn.Module = nn.Identity()
        if shape.hidden is not None:
            layer = nn.Linear(width, shape.hidden)
            self.hidden = nn.Sequential(layer, nn.BatchNorm1d(shape.hidden), nn.ReLU())
            width = shape.hidden
        self.linear: nn.Module = nn.Identity()
        if shape.dimension is not None:
            self.linear, width = nn.Linear(width, shape.dimension), shape.dimension
        self.neck: nn.Module = nn.BatchNorm1d(width) if shape.neck else nn.Identity()
        self.dimension = width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) -> (n, dimension), not yet of unit length."""
        embedded: torch.Tensor = self.neck(self.linear(self.hidden(self.trunk(images))))
        return embedded


def evaluation_transform(
    size: tuple[int, int], statistics: Mapping[str, tuple[float, ...]]
) -> transforms.Compose:
    """Squash to (height, width), bilinearly, and normalise.

    Args:
        size: in pixels.
        statistics: "mean" and "std" in place of ImageNet's.
    """
    mean = statistics.get("mean", timm.data.IMAGENET_DEFAULT_MEAN)
    std = statistics.get("std", timm.data.IMAGENET_DEFAULT_STD)
    return transforms.Compose(
        [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(mean, std)]
    )


class TripletNetwork:
    """An `Embedder` with its transform; features have unit length.

    Args:
        embedder: the trunk and head.
        shape: what it consists of.
        statistics: as for `evaluation_transform`.
        flip: whether to average over the mirrored picture too.
    """

    modalities: tuple[Modality, ...] = (Modality.IMAGE,)
    reentrant = True
    labels: tuple[str, ...] = ()

    def __init__(
        self,
        embedder: Embedder,
        shape: EmbedderShape,
        statistics: Mapping[str, tuple[float, ...]],
        flip: bool,
    ) -> None:
        self.module: nn.Module = embedder.eval()
        self.compilable = [(embedder, "forward")]
        self.dimension = embedder.dimension
        self._transform = evaluation_transform(shape.size, statistics)
        self.resize = quick_resize(self._transform)
        self._flip = flip
        transform = repr(self._transform)
        facts = {"loader": "triplet", "shape": vars(shape), "transform": transform, "flip": flip}
        self.fingerprint = fingerprint(embedder.state_dict(), facts)

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        """(3, height, width) float32."""
        prepared: torch.Tensor = self._transform(content)
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        """Run a batch; (n, dimension) of unit length."""
        batch = torch.stack(tuple(prepared))
        features = self.module(batch)
        if self._flip:
            features = (features + self.module(batch.flip(-1))) / 2
        return Output(normalize(features.float(), dim=1))


def load_triplet(spec: Spec, settings: ModelSettings) -> Network:
    """Load the model that a spec describes.

    Raises:
        InvalidArgumentError: a key is wrong, or the checkpoint does not fit.
        FailedPreconditionError: the pretrained weights cannot be fetched.
    """
    shape = EmbedderShape(
        trunk=spec.require("trunk", str),
        size=take_pair(spec, "size", (224, 224)),
        hidden=_take_width(spec, "hidden"),
        dimension=_take_width(spec, "dimension"),
        neck=spec.take("neck", bool, False),
        last_stride=spec.take("last_stride", int, 2),
    )
    statistics = take_statistics(spec)
    flip = spec.take("flip", bool, False)
    checkpoint = spec.take("checkpoint", str, "")
    prefixes = _take_prefixes(spec)
    pretrained = spec.take("pretrained", bool, False)
    seed = take_seed(spec)
    spec.done()
    exactly_one({"checkpoint": bool(checkpoint), "pretrained": pretrained, "seed": seed is not None})
    if prefixes and not checkpoint:
        raise InvalidArgumentError("spec.prefixes", prefixes, "goes with a checkpoint alone")
    if shape.last_stride not in (1, 2):
        raise InvalidArgumentError("spec.last_stride", shape.last_stride, "must be 1 or 2")
    if pretrained and (shape.hidden or shape.dimension or shape.neck):
        raise InvalidArgumentError(
            "spec.pretrained", True, "brings no head; leave out hidden, dimension and neck"
        )
    embedder = _make(shape, pretrained, seed)
    if checkpoint:
        file = model_file("spec.checkpoint", checkpoint, settings.folder)
        load_by_name("spec.checkpoint", embedder, rename(read_state_dict("spec.checkpoint", file), prefixes))
    return TripletNetwork(embedder, shape, statistics, flip)


def _make(shape: EmbedderShape, pretrained: bool, seed: int | None) -> Embedder:
    if not timm.is_model(shape.trunk.partition(".")[0]):
        raise InvalidArgumentError("spec.trunk", shape.trunk, "must be a model name of timm")
    try:
        with nullcontext() if pretrained else seeded(seed):
            return Embedder(shape, pretrained)
    except EmbeddbError:
        raise
    except Exception as error:
        # timm and its hub client raise whatever the network, the disk or the registry of tags gives them.
        raise FailedPreconditionError(f"timm cannot make {shape.trunk}: {in_a_line(error)}") from error


def _keep_resolution(trunk: Any) -> None:
    """Let a ResNet's last stage work at the resolution of the one before."""
    block = trunk.layer4[0] if isinstance(trunk, timm.models.ResNet) else nn.Module()
    layers = [module for module in block.modules() if not list(module.children())]
    strided = [layer for layer in layers if getattr(layer, "stride", 1) in (2, (2, 2))]
    if not strided or not all(isinstance(layer, nn.Conv2d) for layer in strided):
        allowed = "goes with a plain ResNet as the trunk"
        raise InvalidArgumentError("spec.last_stride", 1, allowed)
    for layer in strided:
        layer.stride = (1, 1)


def _take_width(spec: Spec, key: str) -> int | None:
    width = spec.take(key, int, None)
    if width is not None and not 1 <= width <= MAX_WIDTH:
        raise InvalidArgumentError(f"{spec.field}.{key}", width, f"must be 1 to {MAX_WIDTH}")
    return width


def _take_prefixes(spec: Spec) -> dict[str, str | None]:
    prefixes = spec.take("prefixes", dict, {})
    if not all(isinstance(ours, str | None) for ours in prefixes.values()):
        allowed = "must be an object from prefixes to strings or null"
        raise InvalidArgumentError(f"{spec.field}.prefixes", prefixes, allowed)
    return prefixes
