"""The open_clip loader against open_clip itself: CLIP and SigLIP, from a folder, a checkpoint, a seed."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from embeddb.models import ModelSettings
from embeddb.models.loaders.open_clip import OpenClipNetwork, load_open_clip
from embeddb.models.spec import Spec
from tests.models.pictures import check_agree, check_images

TINY = "tiny-clip-of-the-tests"
TEXTS = ["a cat", "Two CUPS of coffee, No. 7!", "café", "word " * 200]

CLIP = {
    "model_cfg": {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
}
# As open_clip's SigLIP, in small: a sigmoid's bias, no causal mask, its own tokenizer, squashed pictures.
SIGLIP = {
    "model_cfg": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 64,
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 40,
            "hf_tokenizer_name": "whatever-the-folder-has",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 64,
            "heads": 2,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"},
}


def write(folder: Path, config: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """A folder as open_clip would publish it; gives the network, the transform and the tokenizer."""
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if "hf_tokenizer_name" in config["model_cfg"]["text_cfg"]:
        _letters().save_pretrained(folder)
    name = f"local-dir:{folder}"
    torch.manual_seed(1)
    network = open_clip.create_model(name)
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    network, _, transform = open_clip.create_model_and_transforms(name)
    return network.eval(), transform, open_clip.get_tokenizer(name)


def _letters() -> PreTrainedTokenizerFast:
    """A tokenizer of one token a letter, which ends every text as SigLIP's does."""
    tokens = ["<pad>", "</s>", "?", *string.ascii_lowercase, *string.digits]
    tokenizer = Tokenizer(models.WordLevel({token: n for n, token in enumerate(tokens)}, unk_token="?"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "?"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Makes CLIP above known to open_clip by name, as an architecture of its own is."""
    file = tmp_path_factory.mktemp("architectures") / f"{TINY}.json"
    file.write_text(json.dumps(CLIP["model_cfg"]))
    open_clip.add_model_config(file)


@pytest.mark.parametrize(("name", "config"), [("clip", CLIP), ("siglip", SIGLIP)])
def test_a_folder_gives_what_open_clip_gives(
    name: str, config: Mapping[str, Any], trusting: Database, model_folder: Path
) -> None:
    network, transform, tokenizer = write(model_folder / name, config)
    info = trusting.register_model(name, {"loader": "open_clip", "folder": name})
    assert info.dimension == config["model_cfg"]["embed_dim"]
    assert info.modalities == ("image", "text")
    check_images(trusting, name, lambda image: network.encode_image(transform(image)[None])[0])
    with torch.inference_mode():
        expected = network.encode_text(tokenizer(TEXTS))
    given = np.stack([trusting.embed(name, text).features for text in TEXTS])
    check_agree(given, expected)


def test_the_logit_scale_and_bias_are_the_network_s(model_folder: Path) -> None:
    network, _, _ = write(model_folder / "scaled", SIGLIP)
    with torch.no_grad():
        network.logit_scale.fill_(3.0)
        network.logit_bias.fill_(-4.0)
    torch.save(network.state_dict(), model_folder / "scaled" / "open_clip_pytorch_model.bin")
    loaded = load_open_clip(Spec({"folder": "scaled"}), ModelSettings(folder=model_folder))
    assert isinstance(loaded, OpenClipNetwork)
    assert loaded.logit_scale == pytest.approx(np.exp(3.0))
    assert loaded.logit_bias == -4.0


def test_a_checkpoint_of_training_is_what_a_seed_is(trusting: Database, model_folder: Path) -> None:
    """The same tensors, preprocessing and tokenizer: the same fingerprint, wherever they come from."""
    spec = {"loader": "open_clip", "architecture": TINY}
    by_seed = trusting.register_model("seed", spec | {"seed": 5})
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = open_clip.create_model(TINY)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, model_folder / "trained.pt")
    by_file = trusting.register_model("file", spec | {"checkpoint": "trained.pt"})
    assert by_file.fingerprint == by_seed.fingerprint
    squashed = {"preprocess": {"resize_mode": "squash", "mean": [0.5, 0.5, 0.5]}}
    other = trusting.register_model("squashed", spec | {"checkpoint": "trained.pt"} | squashed)
    assert other.fingerprint != by_seed.fingerprint
    _, _, transform = open_clip.create_model_and_transforms(
        TINY, image_mean=(0.5, 0.5, 0.5), image_resize_mode="squash"
    )
    network.eval()
    check_images(trusting, "squashed", lambda image: network.encode_image(transform(image)[None])[0])
    for name in ("seed", "file", "squashed"):
        trusting.remove_model(name)


def test_a_folder_without_weights_is_not_left_random(trusting: Database, model_folder: Path) -> None:
    (model_folder / "hollow").mkdir()
    (model_folder / "hollow" / "open_clip_config.json").write_text(json.dumps(CLIP))
    with pytest.raises(FailedPreconditionError, match="open_clip cannot make hollow"):
        trusting.register_model("wrong", {"loader": "open_clip", "folder": "hollow"})


def test_a_configuration_that_asks_for_remote_code_is_refused(trusting: Database, model_folder: Path) -> None:
    write(model_folder / "remote", SIGLIP)
    config = json.loads(json.dumps(SIGLIP))
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"]["trust_remote_code"] = True
    (model_folder / "remote" / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(PermissionDeniedError, match="remote code"):
        trusting.register_model("wrong", {"loader": "open_clip", "folder": "remote"})


@pytest.mark.parametrize("damage", ["not json", "{}", '{"model_cfg": {"embed_dim": 4}}'])
def test_a_damaged_configuration_is_an_error_of_ours(
    damage: str, trusting: Database, model_folder: Path
) -> None:
    folder = model_folder / "damaged"
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(damage)
    with pytest.raises(FailedPreconditionError, match="open_clip cannot make damaged"):
        trusting.register_model("wrong", {"loader": "open_clip", "folder": "damaged"})


BASE = {"loader": "open_clip", "architecture": TINY}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"loader": "open_clip"}, "spec"),
        (BASE, "spec"),
        (BASE | {"folder": "clip"}, "spec"),
        (BASE | {"seed": 0, "pretrained": "openai"}, "spec"),
        ({"loader": "open_clip", "architecture": "hf-hub:a/b", "seed": 0}, "spec"),
        ({"loader": "open_clip", "architecture": "ViT-Z", "seed": 0}, "spec.architecture"),
        ({"loader": "open_clip", "architecture": "local-dir:/etc", "seed": 0}, "spec.architecture"),
        (BASE | {"pretrained": "no-such-tag"}, "spec.pretrained"),
        # open_clip takes a path here, which would lead out of the model folder.
        (BASE | {"pretrained": __file__}, "spec.pretrained"),
        (BASE | {"checkpoint": "none.pt"}, "spec.checkpoint"),
        (BASE | {"checkpoint": "weights.npz"}, "spec.checkpoint"),
        (BASE | {"checkpoint": "empty.pt"}, "spec.checkpoint"),
        ({"loader": "open_clip", "folder": "none"}, "spec.folder"),
        (BASE | {"seed": 0, "preprocess": {"mean": [0, 0, 0]}}, "spec.preprocess"),
        (BASE | {"checkpoint": "empty.pt", "preprocess": {"mean": [0]}}, "spec.preprocess.mean"),
        (
            BASE | {"checkpoint": "empty.pt", "preprocess": {"resize_mode": "fit"}},
            "spec.preprocess.resize_mode",
        ),
        (BASE | {"checkpoint": "empty.pt", "preprocess": {"size": 3}}, "spec.preprocess.size"),
    ],
)
def test_a_mistake_in_the_spec_is_named(
    spec: Mapping[str, Any], field: str, trusting: Database, model_folder: Path
) -> None:
    for file in ("empty.pt", "weights.npz"):
        (model_folder / file).touch()
    with pytest.raises(InvalidArgumentError) as caught:
        trusting.register_model("wrong", spec)
    assert caught.value.details["field"] == field
