"""A damaged folder, opened whole: what is lost is said, and the rest is served."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embeddb
from embeddb.errors import DataLossError
from embeddb.query import CollectionSettings, Item, PutItem
from embeddb.storage.environment import Environment
from embeddb.verify import verify

VECTORS = np.random.default_rng(0).normal(size=(640, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a collection of ten blocks of vectors, and the file of its index."""
    with embeddb.open(tmp_path / "data") as database:
        database.register_model("m", {"loader": "vectors", "dimension": 4})
        items = database.create_collection("c", ["m"], CollectionSettings(index="IVF4,Flat"))
        items.put_many(PutItem(str(n), features={"m": vector}) for n, vector in enumerate(VECTORS))
        items.settle()
    assert verify(tmp_path / "data") == []
    return tmp_path / "data"


def flip(file: Path, needle: bytes) -> None:
    """Flip a bit in the middle of each place that holds the bytes."""
    data = bytearray(file.read_bytes())
    at = data.find(needle)
    assert at >= 0
    while at >= 0:
        data[at + len(needle) // 2] ^= 0x10
        at = data.find(needle, at + 1)
    file.write_bytes(data)


def found(folder: Path, numbers: range) -> list[bool]:
    """Whether a search for each item's own vector finds it, with and without the index."""
    with embeddb.open(folder) as database:
        items = database.collection("c")
        return [
            any(hit.id == str(n) for hit in items.search(VECTORS[n], k=1, effort=effort))
            for n in numbers
            for effort in ("exact", "accuracy")
        ]


def test_a_damaged_block_is_named_and_the_rest_is_served(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(folder / "collections/c/data.mdb", VECTORS[70].tobytes())
    assert all(found(folder, range(64)))
    assert not any(found(folder, range(64, 128)))
    assert all(found(folder, range(128, 640)))
    said = {record.getMessage() for record in caplog.records if record.levelname == "ERROR"}
    assert len(said) == 1
    assert "the features of model 'm' in rows 64 to 127 are damaged, and their items are not" in said.pop()
    with embeddb.open(folder) as database:
        items = database.collection("c")
        assert items.get("70").metadata == {}
        with pytest.raises(DataLossError, match="`embeddb-server verify` tells"):
            items.search(Item("70"))
    finding, index = verify(folder, repair=True)
    assert "of items '64', '65', '66'" in finding.problem
    assert "the index file m.index is of no use: what is stored is not what it was made of" in index.problem
    assert finding.repair == "they are deleted; put the items again"
    with embeddb.open(folder) as database:
        items = database.collection("c")
        again = [PutItem(str(n), features={"m": VECTORS[n]}) for n in range(64, 128)]
        assert {result.status for result in items.put_many(again)} == {"replaced"}
    caplog.clear()
    assert all(found(folder, range(640)))
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_an_index_that_was_built_without_a_damaged_block_is_taken_up(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(folder / "collections/c/data.mdb", VECTORS[70].tobytes())
    (folder / "collections/c/indexes/m.index").unlink()
    with embeddb.open(folder) as database:
        database.collection("c").settle()
    assert not any(found(folder, range(64, 128)))
    assert all(found(folder, range(128, 640)))
    assert "built anew" not in caplog.text


def test_a_crash_right_after_a_repair_leaves_no_index_of_lost_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_crash(env: Environment, *arguments: Any) -> None:
        write(env, *arguments)
        raise KeyboardInterrupt

    flip(folder / "collections/c/data.mdb", VECTORS[70].tobytes())
    with monkeypatch.context() as patched:
        write = Environment.write
        patched.setattr(Environment, "write", write_and_crash)
        with pytest.raises(KeyboardInterrupt):
            verify(folder, repair=True)
    assert verify(folder) == []
    assert not (folder / "collections/c/indexes/m.index").exists()


def test_what_is_put_behind_a_damaged_block_and_deleted_in_it(folder: Path) -> None:
    more = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    with embeddb.open(folder) as database:
        items = database.collection("c")
        items.put_many(PutItem(f"m{n}", features={"m": vector}) for n, vector in enumerate(more[:40]))
    flip(folder / "collections/c/data.mdb", more[10].tobytes())
    with embeddb.open(folder) as database:
        items = database.collection("c")
        for n in range(40, 60):
            assert items.put(f"m{n}", features={"m": more[n]}) == "created"
        assert items.search(more[50], k=1)[0].id == "m50"
        assert items.delete_many([f"m{n}" for n in range(36)]) == [None] * 36
        assert items.info().items == 640 + 24
    finding, _ = verify(folder, repair=True)
    assert finding.problem == "the features of model 'm' of items 'm36', 'm37', 'm38', 'm39' are damaged"
    with embeddb.open(folder) as database:
        items = database.collection("c")
        assert all(items.search(more[n], k=1)[0].id == f"m{n}" for n in range(40, 60))


def test_a_damaged_index_file_is_found_by_verify_and_built_anew(folder: Path) -> None:
    file = folder / "collections/c/indexes/m.index"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    command = [sys.executable, "-m", "embeddb_server.main", "verify", "--data", str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "c: the index file m.index is of no use: its checksum does not fit" in told.stdout
    (finding,) = verify(folder, repair=True)
    assert finding.repair == "it is deleted; the next start makes it anew"
    assert not file.exists()
    assert verify(folder) == []
    assert all(found(folder, range(0, 640, 10)))
    with embeddb.open(folder) as database:
        database.collection("c").settle()
    assert file.exists()
