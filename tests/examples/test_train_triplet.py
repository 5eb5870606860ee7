"""The training of a triplet net: on real handwriting it gets better at digits that it has not seen."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image as PilImage

import embeddb
from embeddb import Image
from embeddb.models import ModelSettings
from embeddb.models.loaders.triplet import Embedder, EmbedderShape, evaluation_transform
from embeddb_client import Client
from embeddb_server import Server

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EXAMPLES)
    yield importlib.import_module("train_triplet")
    sys.modules.pop("train_triplet")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """scikit-learn's handwritten digits (8x8 pixels), one folder a digit, a hundred of each."""
    data = sklearn.datasets.load_digits()
    for digit in range(10):
        folder = tmp_path / "digits" / str(digit)
        folder.mkdir(parents=True)
        for n, pixels in enumerate(data.images[data.target == digit][:100]):
            PilImage.fromarray((pixels * 255 / 16).astype(np.uint8)).save(folder / f"{n:03}.png")
    return tmp_path / "digits"


def test_it_beats_the_untrained_trunk_and_is_registered(
    example: ModuleType, digits: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    net = ["--trunk", "test_resnet", "--size", "32", "--dimension", "64"]
    with embeddb.open(tmp_path / "data", models=ModelSettings(folder=models)) as database:
        server = Server(database)
        server.start()
        registered = ["--server", server.address, "--name", "digits"]
        short = ["--steps", "100", "--identities", "6", "--pictures", "6"]
        figures = example.main([str(digits), str(models / "digits.pt"), *net, *short, *registered])
        with Client(server.address) as client:
            given = client.embed("digits", Image(digits / "9" / "000.png")).features
        server.stop(drain_seconds=1)
    assert figures["trained"]["mAP"] >= figures["untrained trunk"]["mAP"] + 0.05
    assert figures["trained"]["rank-1"] > figures["untrained trunk"]["rank-1"]
    embedder = Embedder(EmbedderShape("test_resnet", (32, 32), dimension=64)).eval()
    embedder.load_state_dict(torch.load(models / "digits.pt", weights_only=True))
    picture = PilImage.open(digits / "9" / "000.png").convert("RGB")
    with torch.inference_mode():
        expected = embedder(evaluation_transform((32, 32), {})(picture)[None])[0].numpy()
    # The server may have chosen bfloat16.
    assert given @ expected / np.linalg.norm(expected) >= 0.995


def test_too_few_identities_are_said_so(example: ModuleType, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    with pytest.raises(SystemExit, match="3 identities, and 2 are needed on either side"):
        example.main([str(tmp_path), str(tmp_path / "x.pt")])
