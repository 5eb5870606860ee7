"""Any torchvision classifier: pooled features before its last layer, and class predictions with labels.

    {"loader": "torchvision", "architecture": "resnet50"}
    {"loader": "torchvision", "architecture": "vit_b_16", "weights": "IMAGENET1K_SWAG_LINEAR_V1"}
    {"loader": "torchvision", "architecture": "resnet18", "checkpoint": "mine.pth", "labels": ["cat", "dog"]}

Keys:
    architecture: a name of torchvision.models.
    weights: a tag of torchvision's for that architecture, by default its best. Their transform is the
        model's in any case; they are fetched, through torch.hub's own cache, unless one of these is given:
    checkpoint: a file in the server's model folder.
    seed: initialise at random from this number, for tests and measurements.
    labels: "imagenet" or a list of names; by default those of the weights where they are fetched.

Trusts tensors only: fetched weights and checkpoints are read with `weights_only=True` or as safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchvision.models
from PIL import Image as PilImage

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.models.fingerprint import fingerprint
from embeddb.models.loaders.keys import seeded, take_labels, take_seed
from embeddb.models.network import Network, Output
from embeddb.models.resizing import quick_resize
from embeddb.models.spec import Spec, model_file
from embeddb.models.weights import load_by_name, read_state_dict
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["load_torchvision"]

# The weights of these two want inputs normalised in another way, which the networks can see to themselves;
# their own initialisation takes half a minute.
INCEPTION = {"transform_input": True, "init_weights": False}
OPTIONS: Mapping[str, Mapping[str, Any]] = {"googlenet": INCEPTION, "inception_v3": INCEPTION}


class TorchvisionNetwork:
    """A torchvision classifier, cut before its last layer, with the transform of its weights.

    Args:
        network: the classifier.
        weights: whose transform it has.
        labels: the names of its classes; empty if nothing is known of them.
        facts: its architecture, for the fingerprint.
    """

    modalities: tuple[Modality, ...] = (Modality.IMAGE,)
    reentrant = True

    def __init__(self, network: Any, weights: Any, labels: Sequence[str], facts: dict[str, Any]) -> None:
        self._transform = weights.transforms()
        self.resize = quick_resize(self._transform)
        self.fingerprint = fingerprint(network.state_dict(), facts | {"transform": repr(self._transform)})
        classifier = _cut(network)
        self.module: Any = torch.nn.ModuleList([network, classifier]).eval()
        self.compilable = [(network, "forward")]
        self.labels = tuple(labels)
        self.dimension = classifier.in_features

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        """(3, height, width) float32, as the weights' own transform makes it."""
        prepared: torch.Tensor = self._transform(content)
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        """Run a batch."""
        trunk, classifier = self.module
        features = trunk(torch.stack(tuple(prepared)))
        if not self.labels:
            return Output(features)
        return Output(features, classifier(features).float().softmax(dim=1))


def load_torchvision(spec: Spec, settings: ModelSettings) -> Network:
    """Load the model that a spec describes.

    Raises:
        InvalidArgumentError: a key is wrong, or the checkpoint does not fit.
        FailedPreconditionError: the weights cannot be fetched.
    """
    architecture = spec.require("architecture", str)
    tag = spec.take("weights", str, "DEFAULT")
    checkpoint = spec.take("checkpoint", str, "")
    seed = take_seed(spec)
    weights = _weights(architecture, tag)
    labels = take_labels(spec, weights.meta["categories"])
    spec.done()
    if checkpoint and seed is not None:
        raise InvalidArgumentError("spec", "checkpoint and seed", "one of them at most")
    published = len(weights.meta["categories"])
    if checkpoint:
        file = model_file("spec.checkpoint", checkpoint, settings.folder)
        state = read_state_dict("spec.checkpoint", file)
    elif seed is None:
        state = _fetch(architecture, weights)
        labels = weights.meta["categories"] if labels is None else labels
        if len(labels) not in (0, published):
            allowed = f"the pretrained weights have {published} classes"
            raise InvalidArgumentError("spec.labels", f"{len(labels)} names", allowed)
    with seeded(seed):
        network = torchvision.models.get_model(
            architecture,
            weights=None,
            num_classes=len(labels or ()) or published,
            **OPTIONS.get(architecture, {}),
        )
    if seed is None:
        load_by_name("spec.checkpoint" if checkpoint else "spec.weights", network, state)
    return TorchvisionNetwork(
        network, weights, labels or (), {"loader": "torchvision", "architecture": architecture}
    )


def _weights(architecture: str, tag: str) -> Any:
    if architecture not in torchvision.models.list_models(module=torchvision.models):
        allowed = "must be a name of torchvision.models"
        raise InvalidArgumentError("spec.architecture", architecture, allowed)
    known = torchvision.models.get_model_weights(architecture)
    if tag not in known.__members__:
        allowed = f"must be one of {', '.join(known.__members__)}"
        raise InvalidArgumentError("spec.weights", tag, allowed)
    return known[tag]


def _fetch(architecture: str, weights: Any) -> dict[str, torch.Tensor]:
    try:
        state: dict[str, torch.Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    except Exception as error:
        # torch.hub raises whatever the network or the disk gives it.
        raise FailedPreconditionError(f"torchvision has no weights for {architecture}: {error}") from error
    return state


def _cut(network: Any) -> torch.nn.Linear:
    """Take the last linear layer, which is the classifier, out of the network, and return it."""
    linear = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    if not linear:
        allowed = "must end in a linear classifier"
        raise InvalidArgumentError("spec.architecture", type(network).__name__, allowed)
    parent, _, name = linear[-1].rpartition(".")
    classifier: torch.nn.Linear = network.get_submodule(linear[-1])
    setattr(network.get_submodule(parent), name, torch.nn.Identity())
    return classifier
