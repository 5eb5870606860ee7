"""Image-text models of open_clip: CLIP, SigLIP, CoCa and their kin.

    {"loader": "open_clip", "architecture": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}
    {"loader": "open_clip", "architecture": "hf-hub:timm/ViT-B-16-SigLIP"}
    {"loader": "open_clip", "architecture": "ViT-B-32", "checkpoint": "mine.safetensors"}

Keys:
    architecture: an open_clip model name, or a "hf-hub:" id, which brings its own weights.
    pretrained: a tag of open_clip's for that architecture, fetched through the hub's own cache.
    checkpoint: instead: a .safetensors or .pt file in the server's model folder.
    seed: without weights: initialise at random from this number, for tests and measurements.

The model's own tokenizer and image transform are used. Trusts tensors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
import torch
from PIL import Image as PilImage

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.models.fingerprint import fingerprint
from embeddb.models.network import Network, Output
from embeddb.models.settings import ModelSettings
from embeddb.models.spec import Spec, model_file
from embeddb.models.weights import load_by_name, read_state_dict
from embeddb.query import Modality

__all__ = ["OpenClipNetwork", "load_open_clip"]

HUB = "hf-hub:"


class OpenClipNetwork:
    """An open_clip model with its transform and tokenizer."""

    modalities: tuple[Modality, ...] = (Modality.IMAGE, Modality.TEXT)
    labels: tuple[str, ...] = ()

    def __init__(self, network: Any, transform: Any, tokenizer: Any, facts: dict[str, Any]) -> None:
        self.module: Any = network.eval()
        self._transform = transform
        self._tokenizer = tokenizer
        with torch.inference_mode():
            self.dimension = int(network.encode_text(tokenizer(["a"])).shape[1])
        facts = facts | {"transform": repr(transform), "tokenizer": type(tokenizer).__name__}
        self.fingerprint = fingerprint(network.state_dict(), facts)

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        """(3, height, width) float32 for an image, (context length,) int64 for a text."""
        prepared: torch.Tensor
        is_text = isinstance(content, str)
        prepared = self._tokenizer([content])[0] if is_text else self._transform(content)
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        """Run a batch through the tower of its modality."""
        batch = torch.stack(tuple(prepared))
        with torch.inference_mode():
            if modality is Modality.TEXT:
                return Output(self.module.encode_text(batch))
            return Output(self.module.encode_image(batch))


def load_open_clip(spec: Spec, settings: ModelSettings) -> Network:
    """Load the model that a spec describes.

    Raises:
        InvalidArgumentError: a key is wrong, or the checkpoint does not fit.
        FailedPreconditionError: the weights cannot be fetched.
    """
    architecture = spec.require("architecture", str)
    pretrained = spec.take("pretrained", str, "")
    checkpoint = spec.take("checkpoint", str, "")
    seed = spec.take("seed", int, -1)
    spec.done("architecture, pretrained, checkpoint, seed")
    from_hub = architecture.startswith(HUB)
    if [from_hub, bool(pretrained), bool(checkpoint), seed >= 0].count(True) != 1:
        allowed = (
            f"needs exactly one of pretrained, checkpoint, seed and an architecture that starts with {HUB}"
        )
        raise InvalidArgumentError("spec", architecture, allowed)
    if not from_hub and architecture not in open_clip.list_models():
        raise InvalidArgumentError("spec.architecture", architecture, "must be a model name of open_clip")
    network, transform, tokenizer = _create(architecture, pretrained, max(seed, 0))
    if checkpoint:
        state = read_state_dict("spec.checkpoint", model_file("spec.checkpoint", checkpoint, settings.folder))
        load_by_name("spec.checkpoint", network, state)
    return OpenClipNetwork(
        network, transform, tokenizer, {"loader": "open_clip", "architecture": architecture}
    )


def _create(architecture: str, pretrained: str, seed: int) -> tuple[torch.nn.Module, Any, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network, _, transform = open_clip.create_model_and_transforms(
                architecture, pretrained=pretrained or None
            )
            tokenizer = open_clip.get_tokenizer(architecture)
        except Exception as error:
            # open_clip and the hub's client raise whatever the network, the disk or a tag gives them.
            first = str(error).partition("\n")[0]
            raise FailedPreconditionError(f"open_clip cannot make {architecture}: {first}") from error
    return network, transform, tokenizer
