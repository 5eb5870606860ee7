"""A model for items that were there before it: embedded in the background, searched when complete."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embeddb
from embeddb import backfill
from embeddb.collection import Collection
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from embeddb.models import Output
from embeddb.query import Backfill, BackfillState, Item, Modality, Precision, PutItem, RunOptions, View
from embeddb.storage import DataFolder
from embeddb_client import Client
from embeddb_client import Collection as RemoteCollection

EXACT = RunOptions(precision=Precision.FLOAT32)
COUNT = 20


def spec(seed: int) -> dict[str, object]:
    return {"loader": "timm", "architecture": "test_vit", "seed": seed, "labels": ["a", "b"]}


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def finished(collection: Collection | RemoteCollection, model: str) -> Backfill:
    for _ in range(2000):
        progress = next(each for each in collection.backfills() if each.model == model)
        if progress.state is not BackfillState.RUNNING:
            return progress
        time.sleep(0.01)
    raise AssertionError("the backfill does not end")


class Gate:
    """Lets a model run some batches, and holds the next one up."""

    def __init__(self, database: Database, model: str, monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
        runner = database._registry.get(model)._runner
        self._forward = runner.forward
        self._batches = batches
        self.closed, self.open = threading.Event(), threading.Event()
        monkeypatch.setattr(runner, "forward", self)

    def __call__(self, modality: Modality, prepared: Sequence[object]) -> Output:
        self._batches -= 1
        if self._batches < 0:
            self.closed.set()
            assert self.open.wait(20)
        return self._forward(modality, prepared)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 8, so that there are three of them."""
    monkeypatch.setattr(backfill, "BATCH_ITEMS", 8)


def filled(path: Path) -> Database:
    """A database with models `old` and `new`, and a collection `c` that `old` has embedded."""
    database = embeddb.open(path)
    database.register_model("old", spec(0), EXACT)
    database.register_model("new", spec(1), EXACT)
    collection = database.create_collection("c", ["old"])
    collection.put_many([PutItem(f"{n:02}", image(n), {"n": n}) for n in range(COUNT)])
    return database


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Database]:
    """Such a database, open for the test."""
    with filled(tmp_path) as database:
        yield database


def test_what_was_stored_is_embedded_and_everything_else_stays(own: Database) -> None:
    collection = own.collection("c")
    view = View(payload=True, features=True, predictions=True)
    before = list(collection.items(view=view))
    with pytest.raises(FailedPreconditionError, match=r"has 20 items.*backfill it"):
        collection.add_model("new")
    assert collection.backfill("new").state is BackfillState.RUNNING
    progress = finished(collection, "new")
    assert (progress.state, progress.error) == (BackfillState.COMPLETE, None)
    assert (progress.items, progress.done, progress.embedded, progress.missing) == (COUNT, COUNT, COUNT, 0)
    assert progress.rate > 0
    after = list(collection.items(view=view))
    for old, new in zip(before, after, strict=True):
        assert (new.id, new.metadata, new.payload) == (old.id, old.metadata, old.payload)
        assert np.array_equal(new.features["old"], old.features["old"])
        assert np.allclose(new.features["new"], own.embed("new", new.payload).features, atol=1e-5)
        assert set(new.predictions) == {"old", "new"}
    for n in (0, 7, COUNT - 1):
        for model in ("old", "new"):
            assert collection.search(image(n), k=1, model=model)[0].id == f"{n:02}"
    # What is put again unchanged is recognised, although another model has embedded it meanwhile.
    assert collection.put("07", image(7), {"n": 7}) == "unchanged"


def test_the_old_space_serves_meanwhile_and_nothing_that_is_written_is_lost(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = own.collection("c")
    gate = Gate(own, "new", monkeypatch, batches=1)
    collection.backfill("new")
    assert gate.closed.wait(20)
    with pytest.raises(
        FailedPreconditionError, match=r"'new' has not embedded all items of collection 'c' yet"
    ):
        collection.search(Item("03"), model="new")
    assert collection.search(image(19), k=1)[0].id == "19"
    assert collection.backfill("new").state is BackfillState.RUNNING, "asked again, it is the same one"
    # These are in the batch that is held up, or behind it.
    collection.delete("10")
    collection.put("11", features={"old": np.ones(64), "new": np.ones(64)})
    collection.put("12", features={"old": np.ones(64), "new": np.ones(64)}, metadata={"n": "changed"})
    gate.open.set()
    progress = finished(collection, "new")
    assert (progress.state, progress.missing) == (BackfillState.COMPLETE, 0)
    assert progress.embedded == COUNT - 3
    found = {item.id: item for item in collection.items(view=View(features=True))}
    assert len(found) == COUNT - 1
    assert all(set(item.features) == {"old", "new"} for item in found.values())
    assert np.array_equal(found["11"].features["new"], np.ones(64))
    assert found["12"].metadata == {"n": "changed"}


def test_a_backfill_goes_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = filled(tmp_path)
    collection = database.collection("c")
    gate = Gate(database, "new", monkeypatch, batches=2)
    collection.backfill("new")
    assert gate.closed.wait(20)
    closing = threading.Thread(target=database.close)
    closing.start()
    time.sleep(0.1)
    gate.open.set()
    closing.join()
    (progress,) = collection.backfills()
    assert progress.state is BackfillState.FAILED
    assert 0 < progress.embedded < COUNT
    with embeddb.open(tmp_path) as database:
        collection = database.collection("c")
        again = finished(collection, "new")
        assert (again.state, again.done, again.missing) == (BackfillState.COMPLETE, COUNT, 0)
        assert again.embedded == COUNT - progress.embedded
        assert collection.search(image(5), k=1, model="new")[0].id == "05"
    with embeddb.open(tmp_path) as database:
        assert database.collection("c").backfills() == []
        assert database.collection("c").search(image(5), k=1, model="new")[0].id == "05"


def test_what_cannot_be_embedded_is_listed_and_not_lost(own: Database) -> None:
    collection = own.collection("c")
    collection.put("features alone", features={"old": np.ones(64)})
    own.register_model("texts", {"loader": "vectors", "dimension": 3})
    assert collection.backfill("new").items == COUNT + 1
    progress = finished(collection, "new")
    assert (progress.state, progress.embedded, progress.missing) == (BackfillState.COMPLETE, COUNT, 1)
    (missing,) = progress.listed
    assert missing.id == "features alone"
    assert "its payload is not stored" in str(missing.error)
    with pytest.raises(
        FailedPreconditionError, match=r"1 items have features of model 'old'.*'features alone'"
    ):
        collection.drop_model("old", replaced_by="new")
    collection.put("features alone", image(200))
    collection.drop_model("old", replaced_by="new")
    assert collection.info().models == ("new",)


def test_a_new_version_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    own = filled(tmp_path)
    collection = own.collection("c")
    own.register_model("other", {"loader": "vectors", "dimension": 3})
    collection.backfill("other")
    # A model without modalities has nothing to embed, and so nothing is missing.
    assert finished(collection, "other").embedded == 0
    collection.backfill("new")
    finished(collection, "new")
    with pytest.raises(NotFoundError, match="nix"):
        collection.drop_model("nix")
    with pytest.raises(FailedPreconditionError, match="itself"):
        collection.drop_model("old", replaced_by="old")
    predicted = {name: f'score("{name}") >= 0' for name in ("old", "new")}
    assert len(collection.search(image(3), filter=predicted["old"], k=COUNT)) == COUNT
    collection.drop_model("old", replaced_by="new")
    assert collection.info().models == ("new", "other")
    with pytest.raises(InvalidArgumentError, match="models are new, other"):
        collection.search(image(3), filter=predicted["old"])
    assert len(collection.search(image(3), filter=predicted["new"], k=COUNT)) == COUNT
    hit = collection.search(image(3), k=1, with_features=True, with_predictions=True)[0]
    assert (hit.id, set(hit.item.features), set(hit.item.predictions)) == ("03", {"new"}, {"new"})
    own.remove_model("old")
    own.close()
    with embeddb.open(tmp_path) as database:
        collection = database.collection("c")
        assert collection.info().models == ("new", "other")
        assert collection.search(image(3), k=1)[0].id == "03"


def test_a_model_that_is_dropped_while_it_is_filled(own: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = own.collection("c")
    gate = Gate(own, "new", monkeypatch, batches=1)
    collection.backfill("new")
    assert gate.closed.wait(20)
    collection.drop_model("new")
    gate.open.set()
    assert collection.info().models == ("old",)
    assert collection.search(image(3), k=1)[0].id == "03"
    # The name can come back, and everything is embedded again.
    collection.backfill("new")
    assert finished(collection, "new").state is BackfillState.COMPLETE
    assert collection.search(image(3), k=1, model="new")[0].id == "03"


def test_another_model_that_is_dropped_while_a_batch_is_written(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = own.collection("c")
    write = collection._store.write
    with ThreadPoolExecutor() as pool:
        dropped: list[Future[None]] = []

        def drop_before(operations: Sequence[Any]) -> object:
            if not dropped:
                dropped.append(pool.submit(collection.drop_model, "old"))
                wait(dropped, timeout=0.3)
            return write(operations)

        monkeypatch.setattr(collection._store, "write", drop_before)
        collection.backfill("new")
        progress = finished(collection, "new")
        dropped[0].result(20)
    assert (progress.state, progress.embedded) == (BackfillState.COMPLETE, COUNT)
    assert collection.search(image(3), k=1)[0].id == "03"


def test_a_model_that_is_added_while_the_first_items_are_put(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = own.create_collection("first", ["old"])
    gate = Gate(own, "old", monkeypatch, batches=0)
    putting = threading.Thread(
        target=collection.put_many, args=[[PutItem(f"{n}", image(n)) for n in range(3)]]
    )
    putting.start()
    assert gate.closed.wait(20)
    collection.add_model("new")
    with pytest.raises(FailedPreconditionError, match=r"'new' has not embedded all items"):
        collection.search(image(1), model="new")
    gate.open.set()
    putting.join()
    assert finished(collection, "new").embedded == 3
    assert {hit.id for hit in collection.search(image(1), model="new")} == {"0", "1", "2"}


@pytest.mark.parametrize("use", [Collection.add_model, Collection.backfill])
def test_a_model_is_not_removed_while_a_collection_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Collection, str], object]
) -> None:
    with filled(tmp_path) as database, ThreadPoolExecutor() as pool:
        collection = database.create_collection("taking")
        create_space = collection._store.create_space
        taking, go_on = threading.Event(), threading.Event()

        def held_up(*args: Any) -> None:
            taking.set()
            assert go_on.wait(20)
            create_space(*args)

        monkeypatch.setattr(collection._store, "create_space", held_up)
        used = pool.submit(use, collection, "new")
        assert taking.wait(20)
        removed = pool.submit(database.remove_model, "new")
        assert not wait([removed], timeout=0.2).done
        go_on.set()
        used.result()
        with pytest.raises(FailedPreconditionError, match="embeds the items of taking"):
            removed.result()
    with embeddb.open(tmp_path) as database:
        assert database.collection("taking").info().models == ("new",)


def test_features_of_no_model_are_dropped_at_the_next_start(tmp_path: Path) -> None:
    filled(tmp_path).close()
    folder = DataFolder(tmp_path)
    # A crash between the catalogue and the features leaves this.
    folder.catalogue.put_collection("c", folder.catalogue.collections()["c"] | {"models": []})
    folder.close()
    with embeddb.open(tmp_path) as database:
        assert database.collection("c").info().models == ()
        assert database._folder.collection("c").spaces() == {}


def test_a_model_that_is_not_available_ends_the_backfill_with_its_error(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = own.collection("c")

    def refuse(*_: object) -> None:
        raise FailedPreconditionError("its weights are gone")

    own.unload_model("new")
    with monkeypatch.context() as patch:
        patch.setattr(own._registry, "_make", refuse)
        collection.backfill("new")
        progress = finished(collection, "new")
    assert progress.state is BackfillState.FAILED
    assert "its weights are gone" in str(progress.error)
    with pytest.raises(FailedPreconditionError, match="has not embedded all items"):
        collection.search(image(1), model="new")
    own.load_model("new")
    collection.backfill("new")
    assert finished(collection, "new").embedded == COUNT


def test_the_same_over_the_wire(client: Client, make_collection: Callable[..., RemoteCollection]) -> None:
    collection = make_collection("given", "tiny")
    collection.put_many([PutItem(f"{n}", image(n)) for n in range(10)])
    collection.put("vector", features={"given": [1, 2, 3, 4]})
    collection.backfill("starter")
    progress = finished(collection, "starter")
    assert (progress.model, progress.state, progress.items) == ("starter", BackfillState.COMPLETE, 11)
    assert (progress.embedded, progress.missing, progress.error) == (10, 1, None)
    assert [(each.id, type(each.error)) for each in progress.listed] == [("vector", FailedPreconditionError)]
    assert collection.search(image(4), k=1, model="starter")[0].id == "4"
    collection.drop_model("tiny", replaced_by="starter")
    assert collection.info().models == ("given", "starter")
    with pytest.raises(NotFoundError, match="nix"):
        collection.backfill("nix")
