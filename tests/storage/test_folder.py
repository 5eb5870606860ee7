"""A data folder: one process at a time, its catalogue, and creates and drops that a crash cut short."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import pytest

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.storage import CollectionStore, DataFolder, Use
from tests.storage.items import put


def test_collections_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    for name in ("a", "b"):
        folder.create_collection(name, {"of": name}).write([put(name, payload=None, features=False)])
    folder.catalogue.put_model("m", {"dimension": 4})
    folder.drop_collection("a")
    folder.close()
    folder = DataFolder(tmp_path)
    assert folder.catalogue.collections() == {"b": {"of": "b"}}
    assert folder.catalogue.models() == {"m": {"dimension": 4}}
    assert folder.collection("b").rows(["b"]) == [0]
    assert not (tmp_path / "collections" / "a").exists()
    folder.catalogue.delete_model("m")
    assert folder.catalogue.models() == {}
    folder.close()


def test_a_start_writes_nothing(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.create_collection("a", {})
    folder.close()
    files = sorted(tmp_path.rglob("data.mdb"))
    before = [each.read_bytes() for each in files]
    DataFolder(tmp_path).close()
    assert len(files) == 2
    assert [each.read_bytes() for each in files] == before


def test_another_process_is_kept_out_until_this_one_closes(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    script = f"from embeddb.storage import DataFolder; DataFolder({str(tmp_path)!r}).close()"
    refused = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert f"{tmp_path} is open in another process" in refused.stderr
    folder.close()
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_folder_whose_lock_cannot_be_written_is_named(tmp_path: Path) -> None:
    # As root, for whom tests may run, no folder is read-only.
    (tmp_path / "lock").mkdir()
    with pytest.raises(
        FailedPreconditionError, match=r"no folder for data: .*lock cannot be opened for writing: "
    ):
        DataFolder(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


def test_a_newer_format_is_refused_by_name_and_left_as_it_is(tmp_path: Path) -> None:
    DataFolder(tmp_path).close()
    with lmdb.open(str(tmp_path / "catalogue"), max_dbs=4) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as transaction:
            transaction.put(b"format", b"3", db=meta)
    for _ in range(2):
        with pytest.raises(FailedPreconditionError, match="has format 3, and this embeddb knows up to 2"):
            DataFolder(tmp_path)


def test_a_drop_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.create_collection("a", {}).write([put("x", features=False)])
    folder.catalogue.mark_dropped("a")  # And here the power failed.
    folder.close()
    folder = DataFolder(tmp_path)
    assert folder.catalogue.collections() == {}
    assert not (tmp_path / "collections" / "a").exists()
    assert folder.create_collection("a", {}).count() == 0
    folder.close()


def test_a_create_that_was_cut_short_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.create_collection("a", {})
    folder.catalogue.delete_collection("a")  # As if its record had not been kept yet.
    folder.close()
    folder = DataFolder(tmp_path)
    assert folder.create_collection("a", {"again": True}).count() == 0
    folder.close()


def test_items_that_the_catalogue_lost_are_not_touched(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.create_collection("a", {}).write([put("x", features=False)])
    folder.catalogue.delete_collection("a")
    folder.close()
    folder = DataFolder(tmp_path)
    with pytest.raises(FailedPreconditionError, match="that the catalogue does not know"):
        folder.create_collection("a", {})
    folder.catalogue.put_collection("a", {})
    folder.close()
    folder = DataFolder(tmp_path)
    assert folder.collection("a").rows(["x"]) == [0]
    folder.close()


def test_a_lost_catalogue_or_collection_is_data_loss_and_not_a_new_beginning(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.create_collection("a", {})
    folder.close()
    shutil.move(tmp_path / "collections" / "a", tmp_path / "elsewhere")
    with pytest.raises(DataLossError, match=r"collections/a/data\.mdb is missing"):
        DataFolder(tmp_path)
    shutil.move(tmp_path / "elsewhere", tmp_path / "collections" / "a")
    shutil.rmtree(tmp_path / "catalogue")
    with pytest.raises(DataLossError, match=r"catalogue/data\.mdb is missing"):
        DataFolder(tmp_path)


def test_bytes_on_disk_grow_with_what_is_stored(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    before = folder.bytes_on_disk()
    folder.create_collection("a", {}).write([put("x", payload=bytes(1 << 20), features=False)])
    assert 1 << 20 <= folder.bytes_on_disk() - before < 2 << 20
    folder.close()


def test_the_use_of_a_collection_that_is_dropped_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = CollectionStore.use
    folder = DataFolder(tmp_path)
    going = folder.create_collection("going", {})
    folder.create_collection("staying", {})

    def dropped_first(store: CollectionStore) -> Use:
        if store is going:
            folder.drop_collection("going")
        return use(store)

    monkeypatch.setattr(CollectionStore, "use", dropped_first)
    assert list(folder.use()) == ["staying"]
    folder.close()


def test_bytes_on_disk_are_told_while_folders_come_and_go(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            (tmp_path / "collections" / "going" / "indexes").mkdir(parents=True)
            shutil.rmtree(tmp_path / "collections" / "going")

    with ThreadPoolExecutor(1) as others:
        coming = others.submit(come_and_go)
        try:
            least = min(folder.bytes_on_disk() for _ in range(3000))
        finally:
            stop.set()
        coming.result()
    assert least > 0
    folder.close()
