"""Snapshots: a start takes up the index that was; a file that is damaged or of other data is found out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import embeddb
from embeddb.database import Database
from embeddb.index import IndexPolicy, SnapshotFile, SpaceIndex, approximate, tuning
from embeddb.options import Effort
from embeddb.query import CollectionSettings, Metric, PutItem
from embeddb.space import Space

DIMENSION = 8
VECTORS = np.random.default_rng(0).normal(size=(4000, DIMENSION)).astype(np.float32)
NONE = np.empty(0, np.int64)
IDENTITY = {"fingerprint": "abc", "dimension": DIMENSION}


class Storage:
    """What LMDB is to the index: the truth, with a number for the last commit."""

    def __init__(self, path: Path) -> None:
        self.file = path / "indexes" / "a.index"
        self.stored: dict[int, npt.NDArray[np.float32]] = {}
        self.dead: set[int] = set()
        self.sequence = 0

    def open(
        self,
        identity: dict[str, object] = IDENTITY,
        metric: Metric = Metric.COSINE,
        factory: str = "IVF16,SQ8",
    ) -> SpaceIndex:
        snapshots = SnapshotFile(self.file, identity)
        index = SpaceIndex(DIMENSION, metric, IndexPolicy(factory), "a", snapshots)
        index.fill(self, len(self.stored), self.sequence)
        return index

    def are_dead(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return np.isin(rows, list(self.dead))

    def scan(self, after: int = -1) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        rows = np.array(sorted(self.stored), np.int64)
        for part in np.array_split(rows[rows > after], 7):
            if len(part):
                yield part, np.stack([self.stored[row] for row in part.tolist()])

    def read(self, rows: npt.NDArray[np.int64]) -> dict[int, npt.NDArray[np.float32]]:
        return {row: self.stored[row] for row in rows.tolist() if row in self.stored}

    def change(self, index: SpaceIndex | None, rows: range, removed: range = range(0)) -> None:
        self.sequence += 1
        self.stored.update({row: VECTORS[row] for row in rows})
        self.dead.update(removed)
        for row in removed:
            self.stored.pop(row, None)
        if index is not None:
            added = np.array(rows, np.int64)
            index.update(added, VECTORS[added], np.array(removed, np.int64), self.sequence)

    def check(self, index: SpaceIndex) -> None:
        """Every living row is found, exactly and by the index, and no dead one is."""
        assert len(index) == len(self.stored)
        rows = np.array(sorted(self.stored))
        for effort, least in ((Effort.EXACT, 1.0), (Effort.ACCURACY, 0.98)):
            found = index.search(VECTORS, 1, effort=effort)[1][:, 0]
            assert np.isin(found, rows).all()
            assert (found[rows] == rows).mean() >= least


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Two thousand rows, of which some are gone, with a snapshot."""
    storage = Storage(tmp_path)
    index = storage.open()
    storage.change(index, range(2000))
    index.settle()
    storage.change(index, range(0), removed=range(100, 160))
    index.close()
    assert storage.file.exists()
    return storage


def test_a_start_takes_up_the_index_that_was(storage: Storage, builds: list[str]) -> None:
    index = storage.open()
    assert repr(index).startswith("IVF16,SQ8, effort ")
    storage.check(index)
    index.close()
    assert builds == []


def test_what_came_and_went_since_is_seen(storage: Storage, builds: list[str]) -> None:
    before = storage.file.read_bytes()
    storage.change(None, range(2000, 2300), removed=range(500, 520))
    index = storage.open()
    storage.check(index)
    storage.change(index, range(2300, 2400), removed=range(2290, 2310))
    storage.check(index)
    index.close()
    # The new ones are few, and wait beside the index; nothing had to be kept anew.
    assert storage.file.read_bytes() == before
    assert builds == []


@pytest.mark.parametrize("factory", ["IVF16,PQ8x4fs", "IVF16(PQ4x4fs,Refine(Flat)),PQ8x4fs"])
def test_codes_of_the_fast_scan_are_taken_up_and_added_to(
    factory: str, tmp_path: Path, builds: list[str]
) -> None:
    storage = Storage(tmp_path)
    index = storage.open(factory=factory)
    storage.change(index, range(2000))
    index.settle()
    storage.change(index, range(0), removed=range(100, 160))
    index.close()
    index = storage.open(factory=factory)
    storage.check(index)
    storage.change(index, range(2000, 4000), removed=range(1990, 2010))
    index.settle()
    storage.check(index)
    index.close()
    assert builds == [factory]


def test_after_a_crash_the_last_snapshot_serves(storage: Storage, builds: list[str]) -> None:
    before = storage.file.read_bytes()
    index = storage.open()
    storage.change(index, range(2000, 4000), removed=range(50))
    storage.change(index, range(0), removed=range(3000, 3100))
    index.close()
    # As if it had been killed before anything was kept.
    storage.file.write_bytes(before)
    index = storage.open()
    storage.check(index)
    index.close()
    assert builds == []


def test_the_shortlist_is_kept_with_the_efforts_that_were_measured_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "SHORTLISTS", ((2.0, 7),))
        index = storage.open()
        storage.change(index, range(2000))
        index.settle()
        index.close()
    asked: list[int] = []
    find = approximate.Approximate._scored

    def noted(self: approximate.Approximate, *arguments: Any) -> Any:
        found = find(self, *arguments)
        asked.append(found[1].shape[1])
        return found

    monkeypatch.setattr(approximate.Approximate, "_scored", noted)
    index = storage.open()
    index.search(VECTORS[:1], 10)
    index.close()
    assert asked == [2 * 10 + 7]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def cut_to_nothing(data: bytes) -> bytes:
    return data[:3]


def flipped(place: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = int(place * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return flip


def other_version(data: bytes) -> bytes:
    return data.replace(b"embeddb index 6", b"embeddb index 5", 1)


def lengthened(data: bytes) -> bytes:
    return data + b"\0"


@pytest.mark.parametrize(
    "damage",
    [cut, cut_to_nothing, *map(flipped, [0, 0.002, 0.1, 0.5, 0.9, 1]), other_version, lengthened],
)
def test_a_damaged_snapshot_is_found_out_and_built_anew(
    damage: Callable[[bytes], bytes], storage: Storage, builds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    whole = storage.file.read_bytes()
    storage.file.write_bytes(damage(whole))
    assert storage.file.read_bytes() != whole
    with caplog.at_level(logging.WARNING):
        index = storage.open()
    assert "is of no use, and the index is built anew" in caplog.text
    storage.check(index)
    index.settle()
    assert builds == ["IVF16,SQ8"]
    storage.check(index)
    index.close()
    again = storage.open()
    again.close()
    assert builds == ["IVF16,SQ8"]


def test_a_missing_snapshot_is_built_anew(storage: Storage, builds: list[str]) -> None:
    storage.file.unlink()
    index = storage.open()
    storage.check(index)
    index.settle()
    assert builds == ["IVF16,SQ8"]
    index.close()


def other_weights(storage: Storage) -> dict[str, object]:
    return IDENTITY | {"fingerprint": "xyz"}


def older_storage(storage: Storage) -> dict[str, object]:
    storage.sequence = 0
    return IDENTITY


def other_vectors(storage: Storage) -> dict[str, object]:
    storage.stored = {row: -vector for row, vector in storage.stored.items()}
    return IDENTITY


def other_rows(storage: Storage) -> dict[str, object]:
    # The snapshot's rows are 0 to 1999, but storage never forgets a row in the middle and has it again.
    storage.stored = {2 * row + 1: vector for row, vector in storage.stored.items()}
    storage.stored[-1] = VECTORS[0]
    return IDENTITY


@pytest.mark.parametrize("mix", [other_weights, older_storage, other_vectors, other_rows])
def test_a_snapshot_of_other_data_is_found_out(
    mix: Callable[[Storage], dict[str, object]], storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    identity = mix(storage)
    with caplog.at_level(logging.WARNING):
        index = storage.open(identity)
    assert "built anew" in caplog.text
    assert not storage.file.exists()
    rows = np.array(sorted(storage.stored))
    vectors = np.stack([storage.stored[row] for row in rows.tolist()])
    assert (index.search(vectors, 1, effort=Effort.EXACT)[1][:, 0] == rows).mean() > 0.99
    index.close()


def test_a_snapshot_without_vectors_in_storage_is_found_out(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.stored = {row: VECTORS[row] for row in range(2000, 4000)}
    with caplog.at_level(logging.WARNING):
        index = storage.open()
    assert "storage has no vectors in its rows" in caplog.text
    assert not storage.file.exists()
    storage.check(index)
    index.close()


def test_rows_that_a_snapshot_lacks_are_found_out_beside_the_searches(
    storage: Storage, builds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    # The index was built while these could not be read, and now they can.
    storage.file.unlink()
    missing = {row: storage.stored.pop(row) for row in range(700, 760)}
    index = storage.open()
    index.settle()
    index.close()
    builds.clear()
    storage.stored |= missing
    with caplog.at_level(logging.WARNING):
        index = storage.open()
        storage.change(index, range(2000, 2100), removed=range(30, 40))
        assert index.search(VECTORS[50:51], 1)[1][0, 0] == 50
        index.settle()
    assert "storage has 60 rows more than were expected" in caplog.text
    assert "is of no use, and the index is built anew" in caplog.text
    assert builds == ["IVF16,SQ8"]
    storage.check(index)
    index.close()
    again = storage.open()
    storage.check(again)
    again.close()
    assert builds == ["IVF16,SQ8"]


def test_a_disk_that_is_full_costs_the_snapshot_alone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: SnapshotFile, snapshot: object) -> None:
        raise OSError(28, "No space left on device")

    storage.file.unlink()
    monkeypatch.setattr(SnapshotFile, "write", full)
    index = storage.open()
    index.settle()
    storage.check(index)
    index.close()
    assert "could not be kept for the next start" in caplog.text


def test_a_database_opens_with_the_index_that_was(tmp_path: Path, builds: list[str]) -> None:
    def opened() -> Database:
        return embeddb.open(tmp_path)

    settings = CollectionSettings(index="IVF16,SQ8", encoding="float16")  # type: ignore[arg-type]
    with opened() as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        things = database.create_collection("things", ["given"], settings)
        things.put_many(PutItem(f"{n}", features={"given": VECTORS[n]}) for n in range(1000))
        things.settle()
    assert builds == ["IVF16,SQ8"]
    with opened() as database:
        things = database.collection("things")
        things.put("new", features={"given": VECTORS[1000]})
        things.delete("7")
        assert things.search(VECTORS[1000], k=1)[0].id == "new"
    with opened() as database:
        things = database.collection("things")
        hits = [things.search(VECTORS[n], k=1, effort=Effort.EXACT)[0].id for n in (5, 6, 7, 999, 1000)]
        assert hits[:2] + hits[3:] == ["5", "6", "999", "new"]
        assert hits[2] != "7"
        (stats,) = things.space_stats()
        assert stats.index.startswith("IVF16,SQ8, effort ")
    assert builds == ["IVF16,SQ8"]


def test_an_index_whose_model_was_being_dropped_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(space: Space) -> None:
        raise RuntimeError("killed")

    kept = tmp_path / "collections" / "things" / "indexes" / "given.index"
    settings = CollectionSettings(index="IVF16,SQ8")
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        things = database.create_collection("things", ["given"], settings)
        things.put_many(PutItem(f"{n}", features={"given": VECTORS[n]}) for n in range(1000))
        things.settle()
        with monkeypatch.context() as patch:
            patch.setattr(Space, "drop", killed)
            with pytest.raises(RuntimeError, match="killed"):
                things.drop_model("given")
    assert kept.exists()
    with embeddb.open(tmp_path):
        assert not kept.exists()


def test_what_died_after_the_index_was_kept_is_known_at_once(tmp_path: Path, builds: list[str]) -> None:
    kept = tmp_path / "collections" / "things" / "indexes" / "given.index"
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        settings = CollectionSettings(index="IVF16,SQ8")
        things = database.create_collection("things", ["given"], settings)
        things.put_many(PutItem(f"{n}", features={"given": VECTORS[n]}) for n in range(1000))
        things.settle()
    before = kept.read_bytes()
    with embeddb.open(tmp_path) as database:
        things = database.collection("things")
        # Whole blocks, so that nothing is left of them, parts of some, and a few of which little is.
        dead = [*range(128, 256), *range(300, 340), *range(510, 520, 3)]
        things.delete_many([f"{n}" for n in dead])
        things.put_many(PutItem(f"{n}", features={"given": VECTORS[1000 + n]}) for n in range(20))
        things.settle()
    # As if it had been killed before anything was kept.
    kept.write_bytes(before)
    with embeddb.open(tmp_path) as database:
        things = database.collection("things")
        (stats,) = things.space_stats()
        assert stats.index.startswith("IVF16,SQ8, effort ")
        assert stats.vectors == 1000 - len(dead)
        for effort in (Effort.ACCURACY, Effort.EXACT):
            gone = [things.search(VECTORS[n], k=1, effort=effort)[0].id for n in dead]
            assert not {f"{n}" for n in dead} & set(gone)
            found = [things.search(VECTORS[1000 + n], k=1, effort=effort)[0].id for n in range(20)]
            assert found == [f"{n}" for n in range(20)]
    assert builds == ["IVF16,SQ8"]
