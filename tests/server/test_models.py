"""Models through the server: how they are run, loaded, unloaded and loaded again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import embeddb
from embeddb.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from embeddb.models import Registry
from embeddb.query import Precision, PutItem, RunOptions
from embeddb_client import Client
from embeddb_server import Server

SPEC = {"loader": "timm", "architecture": "test_vit", "seed": 0}
IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Client]:
    """A client of a server of its own."""
    with embeddb.open(tmp_path) as database:
        server = Server(database)
        server.start()
        with Client(server.address) as client:
            yield client
        server.stop(drain_seconds=1)


def test_how_a_model_runs_is_told_and_not_part_of_its_fingerprint(own: Client) -> None:
    options = RunOptions(device="cpu", precision=Precision.BFLOAT16, lazy=True, unload_after=600.5)
    info = own.register_model("half", SPEC, options)
    assert info == own.model("half")
    assert info.options == options
    assert info.running is not None
    assert (info.running.device, info.running.precision) == ("cpu", "bfloat16")
    whole = own.register_model("whole", SPEC, RunOptions(precision=Precision.FLOAT32))
    assert whole.running is not None
    assert whole.running.bytes == pytest.approx(2 * info.running.bytes, rel=0.01)
    assert whole.fingerprint == info.fingerprint
    left_open = own.register_model("left-open", SPEC)
    assert left_open.options == RunOptions()
    assert left_open.running is not None
    assert left_open.running.precision in ("float32", "bfloat16")


def test_an_unloaded_model_is_loaded_by_its_next_use(own: Client) -> None:
    own.register_model("net", SPEC)
    before = own.embed("net", IMAGE).features
    assert own.unload_model("net").running is None
    assert own.model("net").running is None
    assert np.array_equal(own.embed("net", IMAGE).features, before)
    assert own.model("net").running is not None
    own.unload_model("net")
    assert own.load_model("net").running is not None
    with pytest.raises(NotFoundError, match="nix"):
        own.load_model("nix")
    with pytest.raises(NotFoundError, match="nix"):
        own.unload_model("nix")


def test_a_lazy_model_is_loaded_once_by_whoever_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = Registry._make

    def count(registry: Registry, name: str, *rest: object) -> object:
        made.append(name)
        return make(registry, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Registry, "_make", count)
    with embeddb.open(tmp_path) as database:
        database.register_model("lazy", SPEC, RunOptions(precision=Precision.FLOAT32, lazy=True))
        database.register_model("eager", SPEC)
        collection = database.create_collection("c", ["lazy"])
        collection.put_many([PutItem("a", IMAGE), PutItem("b", 255 - IMAGE)])
        features = collection.get("a", with_features=True).features["lazy"]
    made.clear()
    with embeddb.open(tmp_path) as database:
        assert made == ["eager"]
        assert database.model("lazy").running is None
        # What is stored is found without it.
        assert [hit.id for hit in database.collection("c").search(embeddb.Item("a"))] == ["b"]
        assert made == ["eager"]
        with ThreadPoolExecutor(8) as callers:
            found = list(callers.map(lambda _: database.embed("lazy", IMAGE).features, range(8)))
        assert made == ["eager", "lazy"]
    assert all(np.allclose(each, features, atol=1e-6) for each in found)


def test_two_that_register_the_same_name_at_once(own: Client) -> None:
    together = threading.Barrier(4)

    def register(_: int) -> type[Exception] | None:
        together.wait()
        try:
            own.register_model("net", SPEC)
        except AlreadyExistsError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(4) as callers:
        outcomes = list(callers.map(register, range(4)))
    assert outcomes.count(None) == 1
    assert outcomes.count(AlreadyExistsError) == 3
    assert own.embed("net", IMAGE).features.shape == (64,)


def test_a_registration_that_failed_leaves_the_name_free(own: Client) -> None:
    with pytest.raises(FailedPreconditionError):
        own.register_model("net", SPEC, RunOptions(device="cuda:99"))
    assert own.models() == []
    assert own.register_model("net", SPEC).name == "net"
