"""Whatever is put, replaced and deleted, the store holds what a dict would hold, also when opened again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from embeddb.errors import FailedPreconditionError
from embeddb.query import Encoding
from embeddb.storage import CollectionStore, Committed, Delete, Put
from embeddb.storage.verify import verify_collection
from tests.storage.items import vector

SPACES = {"full": (4, Encoding.FLOAT32), "half": (3, Encoding.FLOAT16)}
IDS = st.integers(0, 199).map(str)
NO_ROWS = np.empty(0, np.int64)
STORED = {Encoding.FLOAT32: np.float32, Encoding.FLOAT16: np.float16}


def made_put(item_id: str, seed: int) -> Put:
    """An item whose parts follow from the seed: with or without payload and with features in some spaces."""
    features = {
        model: vector(seed, dimension)
        for place, (model, (dimension, _)) in enumerate(SPACES.items())
        if seed >> place & 1
    }
    payload = None if seed % 5 == 0 else f"payload {seed}".encode() * (seed % 7)
    return Put(item_id, f'{{"seed":{seed}}}', None, payload, seed.to_bytes(4, "big"), features)


class StoreAndDict(RuleBasedStateMachine):
    """The store, the dict that it should be like, and the index that its commits make."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.items: dict[str, Put] = {}
        self.seed = 0
        self.sequence = 0
        self.stored: set[int] = set()
        self.indexed: dict[str, dict[int, np.ndarray]] = {model: {} for model in SPACES}
        self.open()

    def open(self) -> None:
        self.store = CollectionStore(Path(self.folder.name), "test", create=True)
        for model, (dimension, encoding) in SPACES.items():
            self.store.create_space(model, dimension, "fingerprint", encoding)
        self.store.listen(self.follow)

    def follow(self, committed: Committed) -> None:
        self.sequence += 1
        assert committed.sequence == self.sequence
        for model, (rows, vectors) in committed.added.items():
            assert (np.diff(rows) > 0).all()
            self.indexed[model].update(zip(rows.tolist(), vectors, strict=True))
        for index in self.indexed.values():
            for row in committed.removed.tolist():
                index.pop(row, None)

    def next_put(self, item_id: str) -> Put:
        self.seed += 1
        return made_put(item_id, self.seed)

    @rule(operations=st.lists(st.tuples(IDS, st.booleans()), max_size=8))
    def write(self, operations: list[tuple[str, bool]]) -> None:
        made = [self.next_put(item_id) if is_put else Delete(item_id) for item_id, is_put in operations]
        for operation, replaced in zip(made, self.store.write(made).replaced, strict=True):
            assert (replaced is not None) == (operation.id in self.items)
            if isinstance(operation, Put):
                self.items[operation.id] = operation
            else:
                self.items.pop(operation.id, None)

    @rule(start=st.integers(0, 199), count=st.integers(1, 150), step=st.integers(1, 3))
    def put_range(self, start: int, count: int, step: int) -> None:
        puts = [self.next_put(str(n)) for n in range(start, min(200, start + count), step)]
        self.store.write(puts)
        self.items.update({put.id: put for put in puts})

    @rule(start=st.integers(0, 199), count=st.integers(1, 150), step=st.integers(1, 3))
    def delete_range(self, start: int, count: int, step: int) -> None:
        ids = [str(n) for n in range(start, min(200, start + count), step)]
        self.store.write([Delete(item_id) for item_id in ids])
        for item_id in ids:
            self.items.pop(item_id, None)

    @rule(item_id=IDS)
    def refused(self, item_id: str) -> None:
        unfit = Put("unfit", "{}", None, None, b"", {"full": vector(0, 5)})
        try:
            self.store.write([self.next_put(item_id), Delete(item_id), unfit])
        except FailedPreconditionError:
            return
        raise AssertionError("a vector of 5 dimensions was taken into a space of 4")

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def holds_what_the_dict_holds(self) -> None:
        records = self.store.list_records(after="", limit=1000, prefix="")
        assert [record.id for record in records] == sorted(self.items, key=str.encode)
        assert self.store.count() == len(self.items)
        rows = [record.row for record in records]
        self.stored.update(rows)
        for some in (sorted(self.stored), sorted(self.stored)[5::3]):
            kept = dict(zip(some, self.store.by_rows(some, keep=True), strict=True))
            assert [row for row, each in kept.items() if each is not None] == [r for r in some if r in rows]
            assert all(repr(kept[each.row]) == repr(each) for each in records if each.row in kept)
            dead = self.store.are_dead(np.array(some, np.int64))
            assert dead.tolist() == [row not in rows for row in some]
        payloads = self.store.payloads(rows)
        for record, payload in zip(records, payloads, strict=True):
            put = self.items[record.id]
            assert (record.metadata_json, record.content_hash) == (put.metadata_json, put.content_hash)
            assert payload == put.payload
        for model, (_, encoding) in SPACES.items():
            expected = {
                record.row: self.items[record.id].features[model].astype(STORED[encoding])
                for record in records
                if model in self.items[record.id].features
            }
            scanned = {
                row: each
                for found, vectors in self.store.scan(model)
                for row, each in zip(found.tolist(), vectors, strict=True)
            }
            assert_same(scanned, expected)
            after = self.store.last_row() // 2
            behind = [rows for rows, _ in self.store.scan(model, after=after)]
            assert np.concatenate([NO_ROWS, *behind]).tolist() == [row for row in scanned if row > after]
            assert_same(self.store.features(model, rows), expected)
            assert_same(self.indexed[model], expected)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            assert verify_collection("test", Path(self.folder.name), repair=False) == []
            self.folder.cleanup()


def assert_same(found: Mapping[int, np.ndarray], expected: Mapping[int, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for row, each in expected.items():
        assert np.array_equal(found[row], each)


TestStoreAndDict = StoreAndDict.TestCase
TestStoreAndDict.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
