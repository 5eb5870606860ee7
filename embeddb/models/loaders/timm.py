"""Any timm model: pooled features before the classifier, and class predictions with labels.

    {"loader": "timm", "architecture": "resnet50", "pretrained": true}
    {"loader": "timm", "architecture": "convnext_tiny", "checkpoint": "mine.safetensors",
     "labels": ["cat", "dog"]}

Keys:
    architecture: a timm model name, with a pretrained tag if wanted ("vit_base_patch16_224.augreg_in21k").
    pretrained: fetch the weights that timm names, through the hub's own cache.
    checkpoint: instead: a file in the server's model folder, or "package:NAME/PATH" in an installed package.
    match: "names" (default), or "order" for a checkpoint whose tensors have other names, but the same order
        and shapes.
    labels: "imagenet" or a list of names, [] for a network without a classifier; by default those of ImageNet
        where timm says that its own weights have them.
    mean, std: three numbers each, for weights that were trained with others than timm says.
    seed: without weights: initialise at random from this number, for tests and measurements.

Exactly one of pretrained, checkpoint and seed is given. Trusts tensors only: checkpoints are read with
`weights_only=True` or as safetensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
import timm
import timm.data
import torch
from PIL import Image as PilImage

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.models.failures import in_a_line
from embeddb.models.fingerprint import fingerprint
from embeddb.models.loaders.keys import exactly_one, seeded, take_labels, take_seed, take_statistics
from embeddb.models.network import Network, Output
from embeddb.models.resizing import quick_resize
from embeddb.models.spec import Spec, model_file
from embeddb.models.weights import load_by_name, load_in_order, read_state_dict
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["TimmNetwork", "load_timm"]


class TimmNetwork:
    """A timm model with its transform.

    Args:
        network: the model, in evaluation mode.
        labels: the names of its classes; empty if nothing is known of them.
        facts: its architecture, for the fingerprint.
        statistics: mean and standard deviation in place of timm's own.
    """

    modalities: tuple[Modality, ...] = (Modality.IMAGE,)
    reentrant = True

    def __init__(
        self,
        network: Any,
        labels: Sequence[str],
        facts: dict[str, Any],
        statistics: dict[str, tuple[float, ...]],
    ) -> None:
        self.module: Any = network.eval()
        self.compilable = [(self.module, "forward_features")]
        self.labels = tuple(labels)
        config = timm.data.resolve_model_data_config(network) | statistics
        self._transform = timm.data.create_transform(**config, is_training=False)
        self.resize = quick_resize(self._transform)
        # The head may widen the features (MobileNetV3 does), so the network itself is asked for their size.
        blank = torch.zeros(config["input_size"])
        self.dimension = self.forward(Modality.IMAGE, [blank]).features.shape[1]
        self.fingerprint = fingerprint(
            network.state_dict(), facts | {"transform": {k: str(v) for k, v in sorted(config.items())}}
        )

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        """(3, height, width) float32, as timm's own evaluation transform makes it."""
        prepared: torch.Tensor = self._transform(content)
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        """Run a batch."""
        # The trunk, where the time goes, runs once; the head, without and with its last layer, twice.
        trunk = self.module.forward_features(torch.stack(tuple(prepared)))
        features = self.module.forward_head(trunk, pre_logits=True)
        if not self.labels:
            return Output(features)
        return Output(features, self.module.forward_head(trunk).float().softmax(dim=1))


def load_timm(spec: Spec, settings: ModelSettings) -> Network:
    """Load the model that a spec describes.

    Raises:
        InvalidArgumentError: a key is wrong, or the checkpoint does not fit.
        FailedPreconditionError: the pretrained weights cannot be fetched.
    """
    architecture = spec.require("architecture", str)
    pretrained = spec.take("pretrained", bool, False)
    checkpoint = spec.take("checkpoint", str, "")
    seed = take_seed(spec)
    match = spec.choose("match", ("names", "order"), "names")
    labels = take_labels(spec, open_clip.IMAGENET_CLASSNAMES)
    statistics = take_statistics(spec)
    spec.done()
    exactly_one({"pretrained": pretrained, "checkpoint": bool(checkpoint), "seed": seed is not None})
    if not timm.is_model(architecture.partition(".")[0]):
        raise InvalidArgumentError("spec.architecture", architecture, "must be a model name of timm")
    if pretrained:
        network = _create(architecture, pretrained=True)
        labels = _pretrained_labels(network) if labels is None else labels
        if labels and len(labels) != network.num_classes:
            allowed = f"the pretrained weights have {network.num_classes} classes"
            raise InvalidArgumentError("spec.labels", f"{len(labels)} names", allowed)
    else:
        head = {} if labels is None else {"num_classes": len(labels)}
        with seeded(seed):
            network = _create(architecture, **head)
    if checkpoint:
        state = read_state_dict("spec.checkpoint", model_file("spec.checkpoint", checkpoint, settings.folder))
        (load_in_order if match == "order" else load_by_name)("spec.checkpoint", network, state)
    facts = {"loader": "timm", "architecture": architecture}
    return TimmNetwork(network, labels or (), facts, statistics)


def _create(architecture: str, **options: Any) -> Any:
    try:
        return timm.create_model(architecture, **options)
    except Exception as error:
        # timm and its hub client raise whatever the network, the disk or the registry of tags gives them.
        raise FailedPreconditionError(f"timm cannot make {architecture}: {in_a_line(error)}") from error


def _pretrained_labels(network: Any) -> tuple[str, ...]:
    """The class names that timm knows for its own weights; none where it knows none."""
    subset = timm.data.infer_imagenet_subset(network)
    if subset is None:
        return ()
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(i) for i in range(info.num_classes()))
