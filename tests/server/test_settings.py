"""What is decided about a collection when it is made: its encoding, and whether payloads are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import embeddb
from embeddb.errors import InvalidArgumentError
from embeddb.query import CollectionSettings, Encoding, PutItem, PutStatus, View
from embeddb_client import Client
from embeddb_client.cli.main import app
from embeddb_server import Server

VECTOR = np.array([0.1, -2.0, 3.14159, 6e-8], np.float32)


def test_float16_features_are_the_nearest_that_it_holds(client: Client) -> None:
    collection = client.create_collection("halves", ["given"], CollectionSettings(encoding=Encoding.FLOAT16))
    assert collection.info().settings == CollectionSettings(Encoding.FLOAT16)
    collection.put("a", features={"given": VECTOR})
    stored = collection.get("a", with_features=True).features["given"]
    assert np.array_equal(stored, VECTOR.astype(np.float16).astype(np.float32))


def test_a_number_beyond_float16_fails_its_item_alone(client: Client) -> None:
    collection = client.create_collection("too-large", ["given"], CollectionSettings(Encoding.FLOAT16))
    items = [PutItem("large", features={"given": [65520, 0, 0, 0]}), PutItem("a", features={"given": VECTOR})]
    large, fine = collection.put_many(items)
    assert large.status is PutStatus.FAILED
    assert str(large.error) == (
        "item.features[given]: 65520.0 given, must be within ±65504, which is what float16 holds"
    )
    assert fine.status is PutStatus.CREATED
    assert [item.id for item in collection.items()] == ["a"]


def test_payloads_that_are_not_kept(client: Client, photo: Path) -> None:
    settings = CollectionSettings(keep_payloads=False)
    collection = client.create_collection("forgetful", ["tiny"], settings)
    assert collection.put("cat", photo) is PutStatus.CREATED
    assert collection.put("cat", photo) is PutStatus.UNCHANGED
    assert collection.put("cat", photo, {"seen": True}) is PutStatus.REPLACED
    item = collection.get("cat", with_payload=True, with_features=True)
    assert (item.payload, item.modality, item.metadata) == (None, "image", {"seen": True})
    assert collection.search(photo)[0].score == pytest.approx(1, abs=1e-5)


def test_settings_stay_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    settings = CollectionSettings(Encoding.FLOAT16, keep_payloads=False)
    with embeddb.open(tmp_path, durability="async") as database:
        database.register_model("given", {"loader": "vectors", "dimension": 4})
        database.create_collection("c", settings=settings).add_model("given")
        database.collection("c").put("a", "a text", features={"given": VECTOR})
    with embeddb.open(tmp_path) as database:
        collection = database.collection("c")
        assert collection.info().settings == settings
        item = collection.get_many(["a"], view=View(payload=True, features=True))[0]
        assert item.payload is None
        assert np.array_equal(item.features["given"], VECTOR.astype(np.float16))


def test_settings_on_the_command_line(server: Server) -> None:
    options = ["--encoding", "float16", "--no-keep-payloads", "--server", server.address, "--json"]
    result = CliRunner().invoke(app, ["collections", "add", "from-cli", *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["settings"] == {
        "encoding": "float16",
        "keep_payloads": False,
        "metric": "cosine",
        "index": "auto",
        "recall": 0.95,
    }


def test_choices_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"settings\.encoding: 'int8' given, must be one of"):
        CollectionSettings(encoding="int8")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="durability: 'never' given, must be one of sync, async"):
        embeddb.open(tmp_path / "new", durability="never")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["", 5, None])
def test_a_data_folder_needs_a_path(path: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"^path: "):
        embeddb.open(path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
