"""What a collection's store keeps, in what order, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from embeddb.errors import FailedPreconditionError, UnavailableError
from embeddb.query import Encoding, Modality, Prediction
from embeddb.storage import CollectionStore, Committed, Delete, Put, Written
from embeddb.storage.reading import SCAN_ROWS
from tests.storage.items import DIMENSION, put, vector


def scanned(store: CollectionStore, model: str = "m") -> dict[int, np.ndarray]:
    return {
        row: v for rows, vectors in store.scan(model) for row, v in zip(rows.tolist(), vectors, strict=True)
    }


def test_an_item_comes_back_whole(store: CollectionStore) -> None:
    whole = Put(
        "ключ/1", '{"a":[1,null]}', Modality.IMAGE, b"\x00jpeg", b"h" * 16, {"m": vector(1)},
        {"m": (Prediction("Katze", 0.75), Prediction("Hund", 0.25))},
    )  # fmt: skip
    assert store.write([whole]) == Written([0], [None])
    (record,) = store.get(["ключ/1"])
    assert record is not None
    assert (record.row, record.id, record.metadata_json) == (0, whole.id, whole.metadata_json)
    assert (record.modality, record.content_hash) == (whole.modality, whole.content_hash)
    assert record.predictions == whole.predictions
    assert store.payloads([0]) == [b"\x00jpeg"]
    assert np.array_equal(store.features("m", [0])[0], vector(1))


def test_what_is_not_there(store: CollectionStore) -> None:
    store.write([put("a", payload=None)])
    assert store.get(["b"]) == [None]
    assert store.by_rows([7]) == [None]
    assert store.rows(["b"]) == [None]
    assert store.payloads([0, 7]) == [None, None]
    assert store.features("m", [7, 64]) == {}
    assert store.features("nix", [0]) == {}
    assert list(store.scan("nix")) == []
    assert store.write([Delete("b")]) == Written([None], [None])


def test_an_overwrite_takes_a_new_row_and_leaves_nothing_of_the_old(store: CollectionStore) -> None:
    store.write([put("a", 1)])
    assert store.write([put("a", 2, payload=None)]) == Written([1], [0])
    assert store.by_rows([0]) == [None]
    assert store.payloads([0, 1]) == [None, None]
    assert list(scanned(store)) == [1]
    assert store.features("m", [0, 1]).keys() == {1}
    assert store.count() == 1


def test_operations_of_one_write_are_done_in_order(store: CollectionStore) -> None:
    written = store.write([put("a", 1), put("b", 2), put("a", 3), Delete("b"), put("b", 4), Delete("c")])
    assert list(zip(written.rows, written.replaced, strict=True)) == [
        (0, None), (1, None), (2, 0), (None, 1), (3, None), (None, None),
    ]  # fmt: skip
    assert {row: v.tolist() for row, v in scanned(store).items()} == {
        2: vector(3).tolist(),
        3: vector(4).tolist(),
    }


def test_rows_are_not_reused_after_everything_was_deleted(tmp_path: Path) -> None:
    for round_ in range(3):
        store = CollectionStore(tmp_path, "test", create=True)
        assert store.write([put("a"), Delete("a")]).rows[0] == round_
        store.close()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"m": vector(1, 5)}, r"shape \(5,\): the space of 'm' has 4 dimensions"),
        ({"nix": vector(1)}, "the space of 'nix' is not there"),
        ({"halves": np.full(DIMENSION, 1e5, np.float32)}, "numbers that float16 does not hold"),
    ],
)
def test_a_write_that_is_refused_changes_nothing(
    store: CollectionStore, features: dict[str, np.ndarray], said: str
) -> None:
    store.create_space("halves", DIMENSION, "f", Encoding.FLOAT16)
    store.write([put("a", 1)])
    with pytest.raises(FailedPreconditionError, match=said):
        store.write([put("b", 2), put("a", 3), Put("c", "{}", None, None, b"", features)])
    assert [record.id for record in store.list_records(after="", limit=9, prefix="")] == ["a"]
    assert np.array_equal(store.features("m", [0])[0], vector(1))
    assert store.write([put("b", 2)]).rows == [1]


def test_a_listing_goes_by_the_bytes_of_ids_in_pages_and_prefixes(store: CollectionStore) -> None:
    ids = sorted(["a", "a/", "a/1", "a/2", "a0", "b", "ä", "z"], key=str.encode)
    store.write([put(item_id) for item_id in reversed(ids)])

    def listed(after: str, limit: int, prefix: str) -> list[str]:
        return [record.id for record in store.list_records(after=after, limit=limit, prefix=prefix)]

    assert listed("", 99, "") == ids
    assert listed("a/1", 2, "") == ["a/2", "a0"]
    assert listed("", 99, "a/") == ["a/", "a/1", "a/2"]
    assert listed("a/1", 99, "a/") == ["a/2"]
    assert listed("0", 99, "a/") == ["a/", "a/1", "a/2"]
    assert listed("", 99, "ä") == ["ä"]
    assert listed("zz", 99, "") == ["ä"]
    # Longer than any key of LMDB.
    assert listed("a" * 600, 2, "") == ["b", "z"]
    assert listed("", 99, "a" * 600) == []


def test_a_scan_comes_in_batches_in_the_order_of_rows(store: CollectionStore) -> None:
    count = SCAN_ROWS + 100
    store.write([Put(str(n), "{}", None, None, b"", {"m": vector(n)}) for n in range(count)])
    batches = list(store.scan("m"))
    assert [len(rows) for rows, _ in batches] == [SCAN_ROWS, 100]
    assert np.array_equal(np.concatenate([rows for rows, _ in batches]), np.arange(count))
    found = np.concatenate([vectors for _, vectors in batches])
    assert np.array_equal(found[::997], [vector(n) for n in range(0, count, 997)])


def test_float16_is_rounded_alike_for_the_index_and_for_readers(store: CollectionStore) -> None:
    told: list[Committed] = []
    store.listen(told.append)
    store.create_space("halves", DIMENSION, "f", Encoding.FLOAT16)
    store.write([Put("a", "{}", None, None, b"", {"halves": vector(1)})])
    rows, vectors = told[0].added["halves"]
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors[0], vector(1).astype(np.float16).astype(np.float32))
    assert np.array_equal(store.features("halves", rows.tolist())[0], vectors[0])


def test_a_space_stays_with_the_weights_that_filled_it(store: CollectionStore) -> None:
    store.create_space("m", DIMENSION, "fingerprint")
    with pytest.raises(FailedPreconditionError, match="weights fingerprint, and those loaded are other"):
        store.create_space("m", DIMENSION, "other")
    assert store.spaces()["m"].fingerprint == "fingerprint"


def test_dropping_a_space_leaves_the_others_and_one_whose_name_begins_alike(store: CollectionStore) -> None:
    store.create_space("m2", 2, "f")
    both = {"m": vector(1), "m2": vector(1, 2)}
    store.write([Put(str(n), "{}", None, None, b"", both) for n in range(70)])
    store.drop_space("m")
    store.drop_space("m")
    assert list(store.spaces()) == ["m2"]
    assert list(store.scan("m")) == []
    assert len(scanned(store, "m2")) == 70
    store.create_space("m", 3, "another")
    assert scanned(store) == {}


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = CollectionStore(tmp_path, "test", create=True)
    store.close()
    with pytest.raises(UnavailableError, match="closed"):
        store.write([Delete("a")])
    for read in (store.count, store.use):
        with pytest.raises(UnavailableError, match=f"^{re.escape(str(tmp_path))} is closed$"):
            read()
