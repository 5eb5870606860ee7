"""Columns from one start to the next: taken up, brought up to date, made anew where they cannot be used."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embeddb
from embeddb import PutItem
from embeddb import selection as selection_module
from embeddb.collection import Collection
from embeddb.storage.databases import DATABASES, row_key
from embeddb.storage.environment import Environment
from embeddb.verify import verify

COUNT = 1200
VECTOR = np.ones(2, np.float32)


def items(numbers: range, brand: str = "brand") -> list[PutItem]:
    return [
        PutItem(
            str(n),
            features={"given": VECTOR},
            metadata={"n": n, "brand": f"{brand} {n % 7}", "tags": ["a", "b"][: n % 3], "sold": n % 2 == 0},
        )
        for n in numbers
    ]


FILTERS: dict[str, Callable[[int], bool]] = {
    "n < 600": lambda n: n < 600,
    'brand == "brand 3"': lambda n: n % 7 == 3,
    '"b" in tags': lambda n: n % 3 == 2,
    "not sold": lambda n: n % 2 == 1,
}


def check(collection: Collection, numbers: Sequence[int]) -> None:
    """Each filter keeps those of the items that it should."""
    for text, keeps in FILTERS.items():
        assert collection.delete_where(text, dry_run=True) == sum(map(keeps, numbers)), text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder whose collection was filtered."""
    path = tmp_path / "data"
    with embeddb.open(path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        collection = database.create_collection("c", ["given"])
        collection.put_many(items(range(COUNT)))
        check(collection, range(COUNT))
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items were read from storage for columns, batch by batch."""
    counts: list[int] = []
    attributes = selection_module._attributes

    def counted(records: Any, models: Any) -> Any:
        counts.append(len(records))
        return attributes(records, models)

    monkeypatch.setattr(selection_module, "_attributes", counted)
    return counts


def kept(folder: Path) -> Path:
    return folder / "collections/c/indexes/filters.columns"


def test_a_start_takes_them_up_and_reads_what_came_since(folder: Path, read: list[int]) -> None:
    with embeddb.open(folder) as database:
        collection = database.collection("c")
        check(collection, range(COUNT))
        assert read == []
        # Written without a filter after it, so that the file does not know of it.
        collection.put_many(items(range(COUNT, COUNT + 100)))
        collection.delete_many([str(n) for n in range(50)])
    with embeddb.open(folder) as database:
        check(database.collection("c"), range(50, COUNT + 100))
        assert read == [100]
    with embeddb.open(folder) as database:
        check(database.collection("c"), range(50, COUNT + 100))
        assert read == [100]


def test_columns_of_other_models_are_not_taken_up(folder: Path, read: list[int]) -> None:
    with embeddb.open(folder) as database:
        database.register_model("other", {"loader": "vectors", "dimension": 2})
        collection = database.collection("c")
        collection.backfill("other")
        check(collection, range(COUNT))
    assert sum(read) == COUNT


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def flip(place: int) -> Callable[[bytes], bytes]:
    def flipped(whole: bytes) -> bytes:
        at = place % len(whole)
        return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    return flipped


def other_version(whole: bytes) -> bytes:
    return whole.replace(b"embeddb columns 1", b"embeddb columns 0", 1)


@pytest.mark.parametrize(
    "damage",
    [cut, lambda whole: b"", flip(3), flip(19), flip(5000), flip(-1), other_version],
    ids=["cut", "empty", "magic", "checksum", "middle", "end", "version"],
)
def test_a_file_that_is_damaged_is_found_out(
    damage: Callable[[bytes], bytes], folder: Path, read: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    kept(folder).write_bytes(damage(kept(folder).read_bytes()))
    (finding,) = verify(folder)
    assert "the columns file filters.columns is of no use" in finding.problem
    with embeddb.open(folder) as database, caplog.at_level(logging.WARNING):
        check(database.collection("c"), range(COUNT))
    assert "is of no use, and columns are made anew" in caplog.text
    assert sum(read) == COUNT
    # What was made anew is kept again.
    assert verify(folder) == []
    with embeddb.open(folder) as database:
        check(database.collection("c"), range(COUNT))
    assert sum(read) == COUNT


def test_a_repair_of_what_is_stored_deletes_what_was_made_of_it(folder: Path) -> None:
    """What columns say of deleted rows would be taken for what the items say that get these rows now."""
    with embeddb.open(folder) as database:
        database.collection("c").delete_many([str(n) for n in range(100, COUNT)])
    env = Environment(folder / "collections" / "c", DATABASES)
    env.write(lambda transaction: transaction.put(b"next_row", row_key(5), db=env.database("meta")))
    env.close()
    first, *others = [str(finding) for finding in verify(folder, repair=True)]
    # The dead were swept out, but for the marks that say so.
    assert first == f"c: the next row is 5, and row {COUNT - 1} is taken; the next row is {COUNT}"
    assert others == [
        "c: the columns file filters.columns is of no use: what is stored is not what it was made of; it is "
        "deleted; the next filter makes it anew",
    ]
    assert not kept(folder).exists()
    with embeddb.open(folder) as database:
        collection = database.collection("c")
        collection.put_many(items(range(3000, 3200)))
        check(collection, [*range(100), *range(3000, 3200)])
    assert verify(folder) == []


def test_a_missing_file_is_made_anew_and_a_damaged_one_repaired(folder: Path, read: list[int]) -> None:
    kept(folder).write_bytes(b"")
    assert len(verify(folder, repair=True)) == 1
    assert not kept(folder).exists()
    assert verify(folder) == []
    with embeddb.open(folder) as database:
        check(database.collection("c"), range(COUNT))
    assert sum(read) == COUNT
    assert kept(folder).exists()


def test_a_file_of_later_data_is_found_out(
    folder: Path, tmp_path: Path, read: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(folder, earlier)
    with embeddb.open(folder) as database:
        database.collection("c").put_many(items(range(COUNT, COUNT + 10)))
        check(database.collection("c"), range(COUNT + 10))
    shutil.copy(kept(folder), kept(earlier))
    with embeddb.open(earlier) as database, caplog.at_level(logging.WARNING):
        # Past the commits that the file knows of, in the rows that they had.
        database.collection("c").put_many(items(range(COUNT, COUNT + 10), brand="other"))
        database.collection("c").delete("0")
    assert "which storage has not" in caplog.text
    read.clear()
    with embeddb.open(earlier) as database:
        assert database.collection("c").delete_where('prefix(brand, "other")', dry_run=True) == 10
    assert sum(read) == COUNT + 9


def test_a_file_of_other_items_is_found_out(
    folder: Path, tmp_path: Path, read: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    with embeddb.open(other) as database:
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        collection = database.create_collection("c", ["given"])
        collection.put_many(items(range(COUNT), brand="other"))
        # No fewer commits than the file knows of, however many batches went into one.
        for _ in range(3):
            collection.put_many(items([COUNT]))
            collection.delete(str(COUNT))
    kept(other).parent.mkdir(exist_ok=True)
    shutil.copy(kept(folder), kept(other))
    with embeddb.open(other) as database, caplog.at_level(logging.WARNING):
        assert database.collection("c").delete_where('prefix(brand, "other")', dry_run=True) == COUNT
    assert "the items of its rows are not those that storage has" in caplog.text
    assert sum(read) == COUNT


def test_a_disk_that_is_full_costs_the_file_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    kept(folder).unlink()
    with monkeypatch.context() as patched, embeddb.open(folder) as database:
        patched.setattr(Path, "replace", full)
        check(database.collection("c"), range(COUNT))
    assert "columns could not be kept for the next start" in caplog.text
    assert not kept(folder).exists()
