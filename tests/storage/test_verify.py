"""Damage of every kind is found by name, told apart, and repaired as far as it can be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embeddb.errors import DataLossError, FailedPreconditionError
from embeddb.storage import CollectionStore, DataFolder, Delete, verify
from embeddb.storage.databases import DATABASES, row_key
from embeddb.storage.environment import Environment
from tests.storage.items import DIMENSION, put, vector

Change = Callable[[Environment], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a hundred items in collection "c", in rows 1 to 100; row 0 is dead."""
    data = DataFolder(tmp_path / "data")
    store = data.create_collection("c", {})
    store.create_space("m", DIMENSION, "fingerprint")
    store.write([put("0", payload=b"dead")])
    store.write([Delete("0")])
    store.write([put(str(n), n, payload=b"here is the payload of ") for n in range(1, 101)])
    data.close()
    return tmp_path / "data"


def changed(folder: Path, change: Change) -> None:
    env = Environment(folder / "collections" / "c", DATABASES)
    change(env)
    env.close()


def opened(folder: Path) -> CollectionStore:
    return CollectionStore(folder / "collections" / "c", "c")


def flip(folder: Path, needle: bytes, where: str = "collections/c") -> None:
    """Flip a bit in the middle of each place that holds the bytes."""
    file = folder / where / "data.mdb"
    data = bytearray(file.read_bytes())
    assert needle in data
    at = data.find(needle)
    while at >= 0:
        data[at + len(needle) // 2] ^= 0x10
        at = data.find(needle, at + 1)
    file.write_bytes(data)


def test_a_sound_folder(folder: Path) -> None:
    assert verify(folder) == []
    assert verify(folder, repair=True) == []
    store = opened(folder)
    assert store.count() == 100
    store.close()


def test_a_damaged_payload(folder: Path) -> None:
    flip(folder, b"here is the payload of 7")
    store = opened(folder)
    with pytest.raises(DataLossError, match="do not fit their checksum; `embeddb-server verify` tells"):
        store.payloads(store.rows(["7"]))
    assert store.payloads(store.rows(["8"])) == [b"here is the payload of 8"]
    store.close()
    findings = verify(folder)
    assert "c: the payload of item '7' is damaged; it is deleted; put the item again" in map(str, findings)
    assert verify(folder, repair=True) == findings
    assert verify(folder) == []
    store = opened(folder)
    assert store.payloads(store.rows(["7"])) == [None]
    assert np.array_equal(store.features("m", store.rows(["7"])).popitem()[1], vector(7))
    store.close()


def test_a_damaged_record(folder: Path) -> None:
    flip(folder, b'50{"seed":50}')
    with closing(opened(folder)) as store, pytest.raises(DataLossError):
        store.get(["50"])
    findings = verify(folder, repair=True)
    assert list(map(str, findings)) == [
        "c: the record in row 50 is damaged; the item is deleted",
        "c: item '50' has no record; it is deleted",
        "c: there is a payload in row 50, and no item; it is deleted",
        "c: there are features of model 'm' in rows [50], and no items; they are marked as dead",
    ]
    assert verify(folder) == []
    store = opened(folder)
    assert store.get(["50"]) == [None]
    assert store.count() == 99
    assert store.write([put("50", 50)]).replaced == [None]
    store.close()


def test_damaged_features(folder: Path) -> None:
    flip(folder, vector(80).tobytes())
    store = opened(folder)
    with pytest.raises(DataLossError):
        store.features("m", store.rows(["80"]))
    with pytest.raises(DataLossError):
        list(store.scan("m"))
    lost: list[range] = []
    assert [len(rows) for rows, _ in store.scan("m", lambda rows, _: lost.append(rows))] == [63]
    assert lost == [range(64, 128)]
    assert store.write([put("new")]).rows == [128]
    assert store.features("m", store.rows(["1"])).keys() == {1}
    store.close()
    (finding,) = verify(folder, repair=True)
    assert finding.problem.startswith("the features of model 'm' of items '64', '65', '66'")
    assert finding.repair == "they are deleted; put the items again"
    assert verify(folder) == []
    store = opened(folder)
    assert sum(len(rows) for rows, _ in store.scan("m")) == 64
    records = store.get(["63", "64"])
    assert [record.content_hash == b"" for record in records if record is not None] == [False, True]
    store.close()


def putting(name: str, key: bytes, value: bytes) -> Change:
    return lambda env: env.write(lambda transaction: transaction.put(key, value, db=env.database(name)))


def deleting(name: str, key: bytes) -> Change:
    return lambda env: env.write(lambda transaction: transaction.delete(key, db=env.database(name)))


FOUND_AGAIN = "c: item '9' is not found by its id; it is from now on"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (deleting("ids", b"9"), [FOUND_AGAIN]),
        (putting("ids", b"9", row_key(8)), ["c: item '9' has no record; it is deleted", FOUND_AGAIN]),
        (putting("ids", b"9", b"short"), ["c: item '9' has no record; it is deleted", FOUND_AGAIN]),
        (
            # Row 0, which is dead, and row 56.
            putting("graves", row_key(0), bytes([1, 0, 0, 0, 0, 0, 0, 1])),
            ["c: items '56' are marked as dead; they are alive again"],
        ),
        (
            putting("meta", b"next_row", row_key(5)),
            ["c: the next row is 5, and row 100 is taken; the next row is 101"],
        ),
        (
            putting("features", b"gone\0" + row_key(0), b""),
            ["c: there are features of model 'gone', which has no space; they are deleted"],
        ),
    ],
)
def test_what_can_be_mended_without_loss(folder: Path, change: Change, said: list[str]) -> None:
    changed(folder, change)
    assert [str(finding) for finding in verify(folder)] == said
    verify(folder, repair=True)
    assert verify(folder) == []
    store = opened(folder)
    assert store.count() == 100
    assert [record.id for record in store.get(["9", "56"]) if record is not None] == ["9", "56"]
    assert store.write([put("new", 1000)]).rows == [101]
    assert sum(len(rows) for rows, _ in store.scan("m")) == 101
    store.close()


def test_a_write_onto_a_row_that_is_taken_is_refused_and_names_the_repair(folder: Path) -> None:
    changed(folder, putting("meta", b"next_row", row_key(5)))
    with (
        closing(opened(folder)) as store,
        pytest.raises(DataLossError, match="`embeddb-server verify --repair` sets it"),
    ):
        store.write([put("new", 1000)])
    verify(folder, repair=True)
    with closing(opened(folder)) as store:
        assert store.write([put("new", 1000)]).rows == [101]


def test_a_row_that_is_marked_as_dead_is_not_given_to_another_item(folder: Path) -> None:
    store = opened(folder)
    store.write([Delete("100")])
    store.close()
    changed(folder, putting("meta", b"next_row", row_key(5)))
    verify(folder, repair=True)
    store = opened(folder)
    (row,) = store.write([put("new", 1000)]).rows
    assert row is not None
    assert store.features("m", [row])[row].tolist() == vector(1000).tolist()
    store.close()


def test_damaged_structure_is_found_without_opening_the_file(folder: Path) -> None:
    file = folder / "collections" / "c" / "data.mdb"
    data = bytearray(file.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    file.write_bytes(data)
    findings = verify(folder, repair=True)
    assert len(findings) > 0
    assert {finding.where for finding in findings} == {"c"}
    assert {finding.repair for finding in findings} == {None}
    assert "cannot be repaired: restore a backup" in str(findings[0])


def test_what_the_catalogue_lost_and_what_the_disk_lost(folder: Path) -> None:
    data = DataFolder(folder)
    data.catalogue.delete_collection("c")
    data.catalogue.put_collection("nix", {})
    data.close()
    assert [str(finding) for finding in verify(folder, repair=True)] == [
        "c: the catalogue does not know it, and it is left alone; cannot be repaired: restore a backup",
        f"nix: {folder}/collections/nix/data.mdb is missing; cannot be repaired: restore a backup",
    ]
    store = opened(folder)
    assert store.count() == 100
    store.close()


def test_a_damaged_catalogue(folder: Path) -> None:
    data = DataFolder(folder)
    data.catalogue.put_model("m", {"loader": "the loader of m"})
    data.close()
    flip(folder, b"the loader of m", "catalogue")
    assert "do not fit their checksum" in str(verify(folder)[0])
    with pytest.raises(DataLossError):
        DataFolder(folder).catalogue.models()


def test_what_is_no_data_folder_or_in_use(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="is not a data folder"):
        verify(tmp_path)
    data = DataFolder(folder)
    with pytest.raises(FailedPreconditionError, match="is open in another process"):
        verify(folder)
    data.close()
