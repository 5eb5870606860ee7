"""Image-text models of open_clip: CLIP, SigLIP, CoCa and their kin.

    {"loader": "open_clip", "architecture": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}
    {"loader": "open_clip", "architecture": "hf-hub:timm/ViT-B-16-SigLIP"}
    {"loader": "open_clip", "architecture": "ViT-B-32", "checkpoint": "mine.safetensors"}
    {"loader": "open_clip", "folder": "my-clip"}

Keys:
    architecture: an open_clip model name, or a "hf-hub:" id, which brings its own weights.
    pretrained: a tag of open_clip's for that architecture, fetched through the hub's own cache.
    checkpoint: instead: a .safetensors, .pt, .pth or .bin file in the server's model folder, converted as
        open_clip converts it (other position embeddings' sizes, the first CLIP's names).
    folder: instead of an architecture: a folder in the model folder as open_clip writes it for a hub, with
        open_clip_config.json (an architecture of one's own, and its preprocessing), the weights, and the
        tokenizer's files where it is not CLIP's.
    preprocess: with checkpoint, where the weights want other than CLIP's: an object with any of mean, std,
        interpolation ("bicubic", "bilinear") and resize_mode ("shortest", "longest", "squash"). SigLIP's
        is {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}.
    seed: without weights: initialise at random from this number, for tests and measurements.

The model's own tokenizer and image transform are used. Trusts tensors only: a configuration that asks for
remote code is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image as PilImage

from embeddb.errors import EmbeddbError, FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from embeddb.models.failures import in_a_line
from embeddb.models.fingerprint import fingerprint, tokenizer_facts
from embeddb.models.loaders.keys import exactly_one, seeded, take_seed, take_statistics
from embeddb.models.network import Network, Output
from embeddb.models.resizing import quick_resize
from embeddb.models.spec import Spec, model_file, model_folder
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["OpenClipNetwork", "load_open_clip"]

HUB = "hf-hub:"
CHECKPOINTS = (".safetensors", ".pt", ".pth", ".bin")


class OpenClipNetwork:
    """An open_clip model with its transform and tokenizer.

    Args:
        network: the model.
        tokenizer: open_clip's for it.
        architecture: its configuration, for the fingerprint.

    Attributes:
        logit_scale: what similarities are multiplied by before a softmax over texts (or a sigmoid).
        logit_bias: what is added then; None for a model that was not trained with one (SigLIP was).
    """

    modalities: tuple[Modality, ...] = (Modality.IMAGE, Modality.TEXT)
    labels: tuple[str, ...] = ()
    reentrant = True

    def __init__(self, network: Any, tokenizer: Any, architecture: Mapping[str, Any]) -> None:
        self.module: Any = network.eval()
        self.compilable = [(self.module, "encode_image"), (self.module, "encode_text")]
        self._tokenizer = tokenizer
        # A tokenizer of transformers changes its own state in every call.
        self._tokenizing = threading.Lock()
        preprocess = network.visual.preprocess_cfg
        self._transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
        self.resize = quick_resize(self._transform)
        self.logit_scale = float(network.logit_scale.detach().exp())
        bias = getattr(network, "logit_bias", None)
        self.logit_bias = None if bias is None else float(bias.detach())
        # open_clip's own tokenizer keeps its vocabulary in one place, those of transformers in another.
        own = hasattr(tokenizer, "encoder")
        vocabulary = tokenizer.encoder if own else tokenizer.tokenizer.get_vocab()
        facts = {
            "loader": "open_clip",
            "architecture": architecture,
            "preprocess": preprocess,
            "tokenizer": tokenizer_facts(vocabulary, lambda texts: tokenizer(texts).tolist()),
        }
        self.fingerprint = fingerprint(network.state_dict(), facts)
        self.dimension = self.forward(Modality.TEXT, [self.prepare("a")]).features.shape[1]

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        """(3, height, width) float32 for an image, (context length,) int64 for a text."""
        prepared: torch.Tensor
        if isinstance(content, str):
            with self._tokenizing:
                prepared = self._tokenizer([content])[0]
        else:
            prepared = self._transform(content)
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        """Run a batch through the tower of its modality."""
        batch = torch.stack(tuple(prepared))
        if modality is Modality.TEXT:
            return Output(self.module.encode_text(batch))
        return Output(self.module.encode_image(batch))


def load_open_clip(spec: Spec, settings: ModelSettings) -> Network:
    """Load the model that a spec describes.

    Raises:
        InvalidArgumentError: a key is wrong, or the checkpoint does not fit.
        PermissionDeniedError: a path leads out of the model folder, or a configuration asks for remote code.
        FailedPreconditionError: the weights cannot be fetched.
    """
    folder = spec.take("folder", str, "")
    architecture = spec.take("architecture", str, "")
    pretrained = spec.take("pretrained", str, "")
    checkpoint = spec.take("checkpoint", str, "")
    preprocess = _take_preprocess(spec)
    seed = take_seed(spec)
    spec.done()
    exactly_one({"folder": bool(folder), "architecture": bool(architecture)})
    from_hub = architecture.startswith(HUB)
    exactly_one(
        {
            "folder": bool(folder),
            f"architecture {HUB}...": from_hub,
            "pretrained": bool(pretrained),
            "checkpoint": bool(checkpoint),
            "seed": seed is not None,
        }
    )
    if preprocess and not checkpoint:
        raise InvalidArgumentError("spec.preprocess", preprocess, "goes with a checkpoint alone")
    file = _checkpoint_file(checkpoint, settings) if checkpoint else None
    name = architecture
    if folder:
        name = f"local-dir:{model_folder('spec.folder', folder, settings.folder)}"
    elif not from_hub:
        _check_known(architecture, pretrained)
    with seeded(seed) if seed is not None or file else nullcontext():
        # Without `require_pretrained`, weights that are not found leave the model as it was initialised.
        brings_weights = seed is None and file is None
        options = {"force_preprocess_cfg": preprocess, "require_pretrained": brings_weights}
        network, tokenizer, config = _create(name, folder or architecture, pretrained or None, options)
    if file:
        _fill(network, file)
    return OpenClipNetwork(network, tokenizer, config)


def _create(
    name: str, shown: str, pretrained: str | None, options: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """The network, its tokenizer and its configuration."""
    try:
        config = _config(name)
        network = open_clip.create_model(
            name, pretrained, pretrained_text=False, weights_only=True, **options
        )
        return network, open_clip.get_tokenizer(name), config
    except EmbeddbError:
        raise
    except Exception as error:
        # open_clip and the hub's client raise whatever the network, the disk or a file gives them.
        raise FailedPreconditionError(f"open_clip cannot make {shown}: {in_a_line(error)}") from error


def _check_known(architecture: str, pretrained: str) -> None:
    if architecture not in open_clip.list_models():
        raise InvalidArgumentError("spec.architecture", architecture, "must be a model name of open_clip")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    # open_clip itself would also take the path of any file here.
    if pretrained and pretrained not in tags:
        allowed = f"must be one of {', '.join(tags)}" if tags else f"{architecture} has no pretrained weights"
        raise InvalidArgumentError("spec.pretrained", pretrained, allowed)


def _config(name: str) -> dict[str, Any]:
    """The architecture as open_clip describes it."""
    config: dict[str, Any] = open_clip.get_model_config(name)
    # A tokenizer is made with all that a configuration says, even that code from the hub may run.
    if config["text_cfg"].get("tokenizer_kwargs", {}).get("trust_remote_code"):
        raise PermissionDeniedError(f"spec: the configuration of {name} asks for remote code; none is run")
    return config


def _checkpoint_file(checkpoint: str, settings: ModelSettings) -> Path:
    file = model_file("spec.checkpoint", checkpoint, settings.folder)
    if file.suffix not in CHECKPOINTS:
        raise InvalidArgumentError("spec.checkpoint", checkpoint, f"must end in {', '.join(CHECKPOINTS)}")
    return file


def _fill(network: Any, file: Path) -> None:
    try:
        open_clip.load_checkpoint(network, str(file), strict=True, weights_only=True)
    except Exception as error:
        # As in `read_state_dict`: a damaged file makes the readers raise nearly anything.
        first = " ".join(str(error).split())[:200]
        raise InvalidArgumentError("spec.checkpoint", file.name, f"does not fit: {first}") from error


def _take_preprocess(spec: Spec) -> dict[str, Any]:
    given = spec.take("preprocess", dict, None)
    if given is None:
        return {}
    own = Spec(given, f"{spec.field}.preprocess")
    preprocess: dict[str, Any] = dict(take_statistics(own))
    for key, options in (
        ("interpolation", ("bicubic", "bilinear")),
        ("resize_mode", ("shortest", "longest", "squash")),
    ):
        if key in given:
            preprocess[key] = own.choose(key, options, options[0])
    own.done()
    return preprocess
