"""The environment grows by itself, readers or not, and says in our words what LMDB says."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embeddb.errors import DataLossError
from embeddb.storage import CollectionStore, Durability
from embeddb.storage import environment as environment_module
from embeddb.storage.environment import Environment
from tests.storage.items import put

PAYLOAD = bytes(100_000)


@pytest.fixture
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_module, "FIRST_MAP_BYTES", 1 << 20)


@pytest.mark.usefixtures("small_map")
@pytest.mark.parametrize("durability", list(Durability))
def test_the_map_grows_while_others_read(tmp_path: Path, durability: Durability) -> None:
    store = CollectionStore(tmp_path, "test", durability, create=True)
    store.write([put("first", payload=PAYLOAD, features=False)])
    stop, reads = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            reads.append(store.payloads([0]) == [PAYLOAD + b"0"])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(200):
        store.write([put(str(n), n, PAYLOAD, features=False)])
    stop.set()
    for reader in readers:
        reader.join()
    assert len(reads) > 0
    assert all(reads)
    assert store.count() == 201
    store.close()
    again = CollectionStore(tmp_path, "test")
    assert again.payloads([200]) == [PAYLOAD + b"199"]
    again.close()


@pytest.mark.usefixtures("small_map")
def test_the_map_grows_while_callers_take_turns(tmp_path: Path) -> None:
    store = CollectionStore(tmp_path, "test", create=True)

    def compare_and_write(writer: int) -> None:
        for n in range(30):
            item = put(f"{writer}-{n}", n, PAYLOAD, features=False)
            with store.turn:
                assert store.get([item.id]) == [None]
            store.write([item])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compare_and_write, range(4)))
    assert store.count() == 120
    store.close()


@pytest.mark.usefixtures("small_map")
def test_the_map_grows_between_one_who_has_the_turn_and_one_who_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CollectionStore(tmp_path, "test", create=True)
    full, growing, writings = threading.Event(), threading.Event(), []

    def grow(env: Environment) -> None:
        """Grow the map when a write waits for the turn."""
        full.set()
        assert growing.wait(30)
        original(env)

    original = Environment._grow
    monkeypatch.setattr(Environment, "_grow", grow)

    def compare() -> None:
        with store.turn:
            writings.append(store.begin_write([put("a", features=False)]))
            time.sleep(0.1)
            growing.set()
            time.sleep(0.1)
            assert store.get(["a"]) == [None]

    # Its record alone is larger than the map.
    creator = threading.Thread(target=store.create_space, args=("m", 4, "f" * (2 << 20)), daemon=True)
    creator.start()
    assert full.wait(30)
    comparer = threading.Thread(target=compare, daemon=True)
    comparer.start()
    for thread in (comparer, creator):
        thread.join(20)
        assert not thread.is_alive()
    assert writings[0].result().rows == [0]
    assert list(store.spaces()) == ["m"]
    store.close()


@pytest.mark.usefixtures("small_map")
def test_one_write_larger_than_the_map(tmp_path: Path) -> None:
    store = CollectionStore(tmp_path, "test", create=True)
    store.write([put(str(n), n, PAYLOAD, features=False) for n in range(100)])
    assert store.count() == 100
    store.close()


def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    env = Environment(tmp_path, ("a",), create=True)

    def change(transaction: object) -> None:
        transaction.put(b"key", b"value", db=env.database("a"))  # type: ignore[attr-defined]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        env.write(change)
    with env.read() as transaction:
        assert transaction.get(b"key", db=env.database("a")) is None
    env.close()


def test_a_folder_without_its_file_is_not_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match=r"data\.mdb is missing or empty; restore a backup"):
        CollectionStore(tmp_path / "new", "test")
    assert not (tmp_path / "new").exists()
    store = CollectionStore(tmp_path / "old", "test", create=True)
    store.write([put("a", features=False)])
    store.close()
    (tmp_path / "old" / "data.mdb").write_bytes(b"")
    with pytest.raises(DataLossError, match="missing or empty"):
        CollectionStore(tmp_path / "old", "test")


def test_a_file_that_is_no_lmdb_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not LMDB's" * 1000)
    with pytest.raises(DataLossError, match=f"{tmp_path} is damaged: .*Restore a backup"):
        CollectionStore(tmp_path, "test")
