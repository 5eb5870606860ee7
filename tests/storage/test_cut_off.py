"""Files that lack pages at their end: those that were cut off, and those whose last pages nobody uses."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lmdb
import lmdb.verify
import numpy as np
import pytest

from embeddb.errors import DataLossError
from embeddb.storage import CollectionStore, DataFolder, Delete, Durability, Put, backup, verify
from embeddb.storage.environment import Environment
from tests.storage.items import put

PAYLOAD = bytes(100_000)
DIMENSION = 512


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    store = CollectionStore(tmp_path, "test", create=True)
    store.write([put(str(n), payload=PAYLOAD, features=False) for n in range(20)])
    store.close()
    file = tmp_path / "data.mdb"
    whole = file.read_bytes()
    for length in (len(whole) // 2, len(whole) - 4096):
        file.write_bytes(whole[:length])
        with pytest.raises(DataLossError, match=rf"has {length:,} bytes of [\d,]+; restore a backup"):
            CollectionStore(tmp_path, "test")
    file.write_bytes(whole)
    store = CollectionStore(tmp_path, "test")
    assert store.count() == 20
    store.close()


def item(row: int) -> Put:
    return put(str(row), row)._replace(features={"m": np.full(DIMENSION, row + 1, np.float32)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with twelve blocks of features in collection "c"; the file lacks half of the last one."""
    with closing(DataFolder(tmp_path / "data")) as data:
        store = data.create_collection("c", {})
        store.create_space("m", DIMENSION, "fingerprint")
        for first in range(0, 12 * 64, 64):
            store.write([item(row) for row in range(first, first + 64)])
        # The pages behind the last block are free since.
        store.write([Delete("nobody")])
    file = tmp_path / "data" / "collections" / "c" / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rfind(item(735).features["m"].tobytes())])
    # The verifier looks at the first page of a large value alone.
    assert lmdb.verify.verify(str(file)) == []
    return tmp_path / "data"


def test_a_large_value_that_was_cut_off_is_damaged_and_the_others_are_served(folder: Path) -> None:
    with closing(DataFolder(folder)) as data:
        store = data.collection("c")
        assert store.features("m", [0, 703])[703][0] == 704
        with pytest.raises(DataLossError):
            store.features("m", [767])
        assert None not in store.write([item(768)]).rows
        assert store.features("m", [768])[768][0] == 769


def test_a_repair_deletes_the_large_value_that_was_cut_off(folder: Path) -> None:
    (finding,) = verify(folder)
    assert finding.problem.startswith("the features of model 'm' of items '704', '705', ")
    assert verify(folder, repair=True) == [finding]
    assert verify(folder) == []


def test_a_backup_of_a_large_value_that_was_cut_off_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match=r"data\.mdb has [\d,]+ bytes of [\d,]+; restore a backup"):
        backup(folder, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_file_that_lacks_gigabytes_is_refused_and_closed(tmp_path: Path) -> None:
    CollectionStore(tmp_path, "test", create=True).close()
    file = tmp_path / "data.mdb"
    data = bytearray(file.read_bytes())
    magic = struct.pack("=I", lmdb.verify.MDB_MAGIC)
    for meta in (data.find(magic), data.rfind(magic)):
        # The last page that is taken: behind the magic number, the version, the map and two databases.
        struct.pack_into("=Q", data, meta + 24 + 2 * lmdb.verify.SIZEOF_MDB_DB, 1 << 22)
    file.write_bytes(data)
    for _ in range(2):
        with pytest.raises(DataLossError, match="restore a backup"):
            CollectionStore(tmp_path, "test")


def lacking(path: Path, seed: int) -> tuple[Environment, dict[bytes, bytes]] | None:
    """An environment whose file lacks pages that LMDB counts, and what it holds; None if it came to none."""
    env, rng, held = Environment(path, ("a",), Durability.ASYNC, create=True), random.Random(seed), {}

    def change(transaction: lmdb.Transaction) -> None:
        for key in (b"%05d" % rng.randrange(200) for _ in range(rng.randrange(1, 40))):
            if rng.random() < 0.5:
                held[key] = bytes(rng.choice([20, 500, 3000, 9000]))
                transaction.put(key, held[key], db=env.database("a"))
            else:
                held.pop(key, None)
                transaction.delete(key, db=env.database("a"))

    for _ in range(30):
        env.write(change)
        if (path / "data.mdb").stat().st_size < env.use().file_bytes:
            return env, held
    env.close()
    return None


def some_lacking(tmp_path: Path) -> tuple[Environment, dict[bytes, bytes]]:
    found = (lacking(tmp_path / str(seed), seed) for seed in range(200))
    return next(each for each in found if each is not None)


def test_a_file_that_lacks_pages_that_nobody_uses_is_whole(tmp_path: Path) -> None:
    env, held = some_lacking(tmp_path)
    file, killed = env._path / "data.mdb", tmp_path / "killed"
    # As a process leaves it that is killed now.
    killed.mkdir()
    shutil.copy(file, killed)
    counted = env.use().file_bytes
    env.close()
    assert file.stat().st_size == counted
    for folder in (file.parent, killed):
        with closing(Environment(folder, ("a",))) as again, again.read() as transaction:
            cursor = transaction.cursor(again.database("a"))
            assert {bytes(key): bytes(value) for key, value in cursor} == held


@pytest.mark.parametrize(
    ("step", "times", "looks"), [("detect_engine", 3, 4), ("read_page", 1000, 1)], ids=["before", "during"]
)
def test_what_is_written_meanwhile_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, times: int, looks: int
) -> None:
    """What is written behind the length that was seen is looked at again; what is looked at stays there."""
    env, held = some_lacking(tmp_path)
    original: Callable[..., object] = getattr(lmdb.verify._Verifier, step)
    written, looked = 0, []

    def change(transaction: lmdb.Transaction) -> None:
        for key in held:
            transaction.put(key, bytes([written % 256]) * 3000, db=env.database("a"))

    def write_before(*arguments: object) -> object:
        nonlocal written
        looked.append(arguments[0])
        if written < times:
            written += 1
            env.write(change)
        return original(*arguments)

    monkeypatch.setattr(lmdb.verify._Verifier, step, write_before)
    env._check_length()
    assert len(set(looked)) == looks
    env.close()
