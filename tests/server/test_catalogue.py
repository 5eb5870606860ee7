"""Models, collections and figures: their rules, and what is left of them when a folder is opened again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import embeddb
import embeddb.collection
from embeddb.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from embeddb.models import ModelSettings
from embeddb.query import CollectionInfo, PutItem
from embeddb_client import Client, Collection


def test_models_and_collections_have_their_rules(
    client: Client, make_collection: Callable[..., Collection]
) -> None:
    assert {info.name for info in client.models()} >= {"starter", "tiny", "given"}
    assert client.model("tiny").labels == 3
    with pytest.raises(AlreadyExistsError, match="tiny"):
        client.register_model("tiny", {"loader": "vectors", "dimension": 2})
    with pytest.raises(InvalidArgumentError, match=r"spec\.loader: 'nix' given"):
        client.register_model("new", {"loader": "nix"})
    with pytest.raises(InvalidArgumentError, match=r"spec\.dimension: 'x' given"):
        client.register_model("new", {"loader": "vectors", "dimension": "x"})
    with pytest.raises(InvalidArgumentError, match=r"model\.name"):
        client.register_model("../new", {"loader": "vectors", "dimension": 2})
    with pytest.raises(NotFoundError, match="new"):
        client.model("new")
    collection = make_collection("given")
    with pytest.raises(FailedPreconditionError, match=collection.name):
        client.remove_model("given")
    with pytest.raises(AlreadyExistsError):
        client.create_collection(collection.name)
    with pytest.raises(NotFoundError, match="nix"):
        client.create_collection("new", ["nix"])
    with pytest.raises(InvalidArgumentError, match=r"collection\.name"):
        client.create_collection("a/b")
    with pytest.raises(FailedPreconditionError, match="default"):
        client.drop_collection("default")
    collection.put("a", features={"given": [1, 2, 3, 4]})
    with pytest.raises(FailedPreconditionError, match="1 items"):
        collection.add_model("tiny")
    client.drop_collection(collection.name)
    with pytest.raises(NotFoundError, match=collection.name):
        collection.info()
    assert collection.name not in {info.name for info in client.collections()}
    client.register_model("spare", {"loader": "vectors", "dimension": 2})
    client.remove_model("spare")
    assert "spare" not in {info.name for info in client.models()}


def test_embedding_stores_nothing(client: Client) -> None:
    before = client.stats().collections
    good, bad = client.embed_many("starter", ["a cat", b"no image"])
    assert good.features.shape == (384,)  # type: ignore[union-attr]
    assert "image" in str(bad)
    assert client.stats().collections == before


def test_stats_count_what_there_is(client: Client, make_collection: Callable[..., Collection]) -> None:
    collection = make_collection("starter", "given")
    collection.put_many([PutItem("a", "a text"), PutItem("b", features={"given": [1, 2, 3, 4]})])
    stats = client.stats()
    assert [info.items for info in stats.collections if info.name == collection.name] == [2]
    spaces = {space.model: (space.vectors, space.dimension) for space in stats.spaces[collection.name]}
    assert spaces == {"starter": (1, 384), "given": (1, 4)}
    assert stats.bytes_on_disk > 0
    assert stats.uptime_seconds > 0


def test_whoever_asks_while_a_collection_is_dropped_is_told_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = embeddb.collection.Collection.info
    with embeddb.open(tmp_path) as database:

        def dropped_first(collection: embeddb.collection.Collection) -> CollectionInfo:
            if collection.name == "going":
                database.drop_collection("going")
            return info(collection)

        monkeypatch.setattr(embeddb.collection.Collection, "info", dropped_first)
        for ask in (database.collections, lambda: database.stats().collections):
            database.create_collection("going")
            assert [each.name for each in ask()] == ["default"]


def test_a_database_that_is_open_cannot_be_opened_again(tmp_path: Path) -> None:
    with embeddb.open(tmp_path), pytest.raises(FailedPreconditionError, match="another process"):
        embeddb.open(tmp_path)
    embeddb.open(tmp_path).close()


def test_a_model_that_cannot_be_loaded_again_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for seed, name in ((0, "net.pt"), (1, "other.pt")):
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_vit").state_dict(), folder / name)
    spec = {"loader": "timm", "architecture": "test_vit", "checkpoint": "net.pt"}
    settings = ModelSettings(folder=folder)
    image = np.zeros((8, 8, 3), np.uint8)
    with embeddb.open(tmp_path / "data", models=settings) as database:
        database.register_model("net", spec)
        collection = database.create_collection("c", ["net"])
        collection.put_many([PutItem("a", image), PutItem("b", image + 255)])
    shutil.move(folder / "net.pt", tmp_path / "kept.pt")
    shutil.move(folder / "other.pt", folder / "net.pt")
    with embeddb.open(tmp_path / "data", models=settings) as database:
        collection = database.collection("c")
        with pytest.raises(FailedPreconditionError, match="'net' is not available: its weights are"):
            collection.search(image)
        with pytest.raises(FailedPreconditionError, match="'net' is not available"):
            collection.put("c", image)
        assert str(database.model("net").refusal).startswith("its weights are ")
        # What is stored can still be found by what is stored.
        assert [hit.id for hit in collection.search(embeddb.Item("a"))] == ["b"]
    (folder / "net.pt").unlink()
    with embeddb.open(tmp_path / "data", models=settings) as database:
        with pytest.raises(FailedPreconditionError, match=r"not available: spec\.checkpoint.*no such file"):
            database.collection("c").search(image)
        (refused,) = database.models()
        assert "no such file" in str(refused.refusal)
        shutil.copy(tmp_path / "kept.pt", folder / "net.pt")
        assert database.load_model("net").refusal is None
        database.drop_collection("c")
        database.remove_model("net")
        assert database.models() == []


def test_closing_a_database_again_does_nothing_to_who_has_the_folder_now(tmp_path: Path) -> None:
    first = embeddb.open(tmp_path)
    first.close()
    with embeddb.open(tmp_path):
        first.close()
        with pytest.raises(FailedPreconditionError):
            embeddb.open(tmp_path)
