"""Records as they are stored, now and by earlier versions."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import embeddb
from embeddb.errors import FailedPreconditionError, or_raise
from embeddb.query import Modality, Prediction, View
from embeddb.storage import DataFolder, Put, Record
from embeddb.storage.catalogue import Catalogue
from embeddb.storage.records import to_bytes
from embeddb.storage.verify import verify

KEPT = Path(__file__).parent / "kept"
TEXTS = st.text(st.characters(codec="utf-8"))
SCORES = st.floats(0, 1)


@given(
    item_id=TEXTS,
    metadata=TEXTS,
    modality=st.sampled_from([None, *Modality]),
    content_hash=st.binary(max_size=64),
    predictions=st.dictionaries(TEXTS, st.lists(st.builds(Prediction, TEXTS, SCORES), max_size=3).map(tuple)),
)
def test_a_record_is_read_as_it_was_written(
    item_id: str,
    metadata: str,
    modality: Modality | None,
    content_hash: bytes,
    predictions: dict[str, tuple[Prediction, ...]],
) -> None:
    put = Put(item_id, metadata, modality, None, content_hash, {}, predictions)
    record = Record.from_bytes(7, to_bytes(put))
    assert (record.row, record.id, record.metadata_json) == (7, item_id, metadata)
    assert (record.modality, record.content_hash, record.predictions) == (modality, content_hash, predictions)
    assert to_bytes(record) == to_bytes(put)


@pytest.fixture
def format_1(tmp_path: Path) -> Path:
    """A folder that version 0.1.0 wrote when its records were JSON: the items mug, tent and cat."""
    with tarfile.open(KEPT / "format1.tar.xz") as archive:
        # Python 3.11 has the filter since its fourth release.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(tmp_path)
    return tmp_path / "format1"


def test_a_folder_of_format_1_is_read_and_written(format_1: Path) -> None:
    assert verify(format_1) == []
    with embeddb.open(format_1) as database:
        shop = database.collection("shop")
        mug, cat = map(or_raise, shop.get_many(["mug", "cat"], view=View(payload=True, predictions=True)))
        assert mug.metadata == {"price": 9, "name": "Häferl"}
        assert (mug.modality, cat.modality) == (None, Modality.TEXT)
        assert cat.payload == embeddb.Text("a cat")
        assert cat.predictions == {"given": (Prediction("cat", 0.75),)}
        assert [hit.id for hit in shop.search([1, 0, 0, 0], filter="price == 9")] == ["mug"]
        shop.put("mug", features={"given": [0, 0, 0, 1]}, metadata={"price": 8})
        # Content of features alone had a hash of another kind: it is stored once more.
        assert shop.put("tent", features={"given": [0, 1, 0, 0]}) == "replaced"
        assert shop.put("tent", features={"given": [0, 1, 0, 0]}) == "unchanged"
    assert verify(format_1) == []
    with embeddb.open(format_1) as database:
        assert database.collection("shop").get("mug").metadata == {"price": 8}


def test_a_folder_of_format_1_that_was_opened_is_closed_to_earlier_versions(
    format_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untouched = format_1.with_name("untouched")
    shutil.copytree(format_1, untouched)
    DataFolder(format_1).close()
    monkeypatch.setattr("embeddb.storage.catalogue.FORMAT", 1)
    with pytest.raises(FailedPreconditionError, match="has format 2, and this embeddb knows up to 1"):
        Catalogue(format_1 / "catalogue")
    DataFolder(untouched).close()
