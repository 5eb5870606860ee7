"""Backups while the folder is being written, by the process that writes and by another one, and restores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

import embeddb
from embeddb.collection import Collection
from embeddb.database import Database
from embeddb.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, UnavailableError
from embeddb.query import PutItem
from embeddb.storage import DataFolder, backup, verify
from embeddb.storage.backup import write_backup
from embeddb_server.main import main
from tests.storage.items import put, vector


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with embeddb.open(tmp_path / "data") as database:
        database.register_model("given", {"loader": "vectors", "dimension": 4})
        database.collection().add_model("given")
        database.create_collection("empty", ["given"])
        yield database


@contextmanager
def being_written(collection: Collection) -> Iterator[None]:
    """Meanwhile a thread puts left and right, always alike, in one call."""
    begun, stop = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            metadata, features = {"number": number}, {"given": vector(number)}
            sides = [PutItem(side, "text", metadata, features) for side in ("left", "right")]
            more = [PutItem(f"{number}-{n}", features=features) for n in range(20)]
            collection.put_many([*sides, *more])
            begun.set()
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(30)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check_is_one_moment(folder: Path) -> None:
    assert verify(folder) == []
    with embeddb.open(folder) as copy:
        collection = copy.collection()
        left, right = collection.get("left", with_features=True), collection.get("right")
        assert left.metadata == right.metadata
        number = left.metadata["number"]
        assert np.array_equal(left.features["given"], vector(number))
        assert collection.info().items == 2 + 20 * (number + 1)
        assert len(collection.search(vector(number), k=10)) == 10
        assert copy.collection("empty").info().items == 0


def test_a_backup_in_process_is_one_moment(database: Database, tmp_path: Path) -> None:
    collection = database.collection()
    with being_written(collection):
        for number in range(3):
            threading.Event().wait(0.05)
            database.backup(tmp_path / f"backup-{number}")
    for number in range(3):
        with embeddb.open(tmp_path / f"backup-{number}") as copy:
            items = copy.collection().get_many(["left", "right"])
            assert items[0].metadata == items[1].metadata
    check_is_one_moment(tmp_path / "backup-2")


def test_a_backup_by_another_process_is_one_moment(database: Database, tmp_path: Path) -> None:
    script = f"from embeddb.storage import backup; print(backup({str(tmp_path / 'data')!r}, 'backup'))"
    command = [sys.executable, "-c", script]
    path = os.pathsep.join(sys.path)
    with being_written(database.collection()):
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False
        )
    assert done.stdout == b"['default', 'empty']\n", done.stderr
    check_is_one_moment(tmp_path / "backup")


def test_a_restore_and_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, saved, again = (str(tmp_path / name) for name in ("data", "saved", "again"))
    with embeddb.open(data) as database:
        database.register_model("given", {"loader": "vectors", "dimension": 4})
        database.collection().add_model("given")
        database.collection().put("a", "text", {"n": 1}, features={"given": vector(1)})
    assert main(["backup", "--data", data, "--to", saved]) == 0
    shutil.rmtree(data)
    assert main(["restore", "--backup", saved, "--data", again]) == 0
    assert main(["verify", "--data", again]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{again} is sound"
    with embeddb.open(again) as database:
        assert database.collection().search(vector(1))[0].metadata == {"n": 1}
    assert main(["restore", "--backup", saved, "--data", again]) == 1
    assert f"a file or folder named '{again}' exists already" in capsys.readouterr().err
    assert main(["restore", "--backup", data, "--data", str(tmp_path / "new")]) == 1
    assert f"no data folder named '{data}'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "saved"]


def test_a_backup_takes_the_room_of_what_is_stored(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    store = folder.create_collection("c", {})
    for n in range(20):
        store.write([put("the same", n, payload=bytes(1 << 20), features=False)])
    with pytest.raises(AlreadyExistsError):
        folder.backup(tmp_path)
    folder.backup(tmp_path / "backup")
    folder.close()
    size = (tmp_path / "backup" / "collections" / "c" / "data.mdb").stat().st_size
    assert 1 << 20 < size < 2 << 20


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.create_collection("c", {}).write([put("a", features=False)])

    def copy(place: Path, to: Path) -> None:
        if place.name == "c":
            raise FailedPreconditionError("c was dropped")
        folder.catalogue.copy(to)

    with pytest.raises(FailedPreconditionError, match="c was dropped"):
        write_backup(copy, tmp_path / "backup")
    folder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    shutil.rmtree(tmp_path / "data" / "collections" / "c")
    with pytest.raises(FailedPreconditionError, match="was dropped while the backup was made"):
        backup(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(NotFoundError):
        backup(tmp_path, tmp_path / "backup")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_backup_does_not_take_the_place_of_what_came_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with closing(DataFolder(tmp_path / "data")) as folder:
        folder.create_collection("c", {})

        def come(done: int, total: int) -> None:
            target.mkdir()
            (target / "came").touch()

        with pytest.raises(UnavailableError, match="Directory not empty"):
            folder.backup(target, come)
    assert [path.name for path in target.iterdir()] == ["came"]
    assert {path.name for path in tmp_path.iterdir()} == {"data", "backup"}


def test_the_command_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    with closing(DataFolder(data)) as folder:
        folder.create_collection("c", {}).write([put("a", features=False)])
    file = data / "collections" / "c" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"payload0", b"payload1"))
    assert main(["verify", "--data", str(data)]) == 1
    said = capsys.readouterr()
    assert said.out == "c: the payload of item 'a' is damaged; it is deleted; put the item again\n"
    assert said.err == f"embeddb-server: {data} has 1 problem(s); --repair does what each line says\n"
    assert main(["verify", "--data", str(data), "--repair"]) == 0
    assert capsys.readouterr().out.endswith(f"{data} is sound, after 1 repair(s)\n")
    assert main(["verify", "--data", str(data)]) == 0
    file.write_bytes(file.read_bytes()[:4096])
    assert main(["verify", "--data", str(data), "--repair"]) == 1
    assert "problem(s); restore a backup" in capsys.readouterr().err
