"""Hits and items as tables."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from embeddb.errors import InvalidArgumentError
from embeddb.options import Group
from embeddb.query import Hit, StoredItem, View
from embeddb.tables import to_arrow, to_pandas
from embeddb_client import Collection
from tests.conftest import PHOTOS

MakeCollection = Callable[..., Collection]


def hits(*metadata: dict[str, object]) -> list[Hit]:
    return [Hit(StoredItem(str(n), json.dumps(each)), 1.0 - n) for n, each in enumerate(metadata)]


def test_a_search_as_a_table(make_collection: MakeCollection) -> None:
    photos = make_collection("tiny")
    photos.put("cat", PHOTOS / "chelsea.png", {"kind": "pet", "age": 3, "place": {"room": "hall"}})
    photos.put("cup", PHOTOS / "coffee.png", {"kind": "thing", "price": 2.5})
    found = photos.search(PHOTOS / "chelsea.png", with_features=True, with_predictions=True)
    table = to_arrow(found)
    assert table.schema == pa.schema(
        {
            "id": pa.string(),
            "score": pa.float32(),
            "modality": pa.string(),
            "metadata.kind": pa.string(),
            "metadata.age": pa.int64(),
            "metadata.place": pa.struct({"room": pa.string()}),
            "metadata.price": pa.float64(),
            "features.tiny": pa.list_(pa.float32()),
            "predictions.tiny": pa.list_(pa.struct({"label": pa.string(), "score": pa.float32()})),
        }
    )
    assert table["id"].to_pylist() == ["cat", "cup"]
    assert table["metadata.price"].to_pylist() == [None, 2.5]
    frame = to_pandas(found)
    assert frame.score[0] == pytest.approx(1)
    assert np.array_equal(frame["features.tiny"][0], found[0].item.features["tiny"])
    assert frame["predictions.tiny"][1][0]["label"] == found[1].item.predictions["tiny"][0].label
    assert frame.groupby("metadata.kind").score.max().to_dict() == {
        "pet": frame.score[0],
        "thing": frame.score[1],
    }


def test_items_as_a_table(make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    vectors.put("a", features={"given": [1, 2, 3, 4]})
    vectors.put("b", features={"given": [4, 3, 2, 1]}, metadata={"n": 1})
    table = to_arrow(vectors.items(view=View(features=True)))
    assert table.column_names == ["id", "modality", "metadata.n", "features.given"]
    assert table.to_pylist()[0] == {
        "id": "a",
        "modality": None,
        "metadata.n": None,
        "features.given": [1.0, 2.0, 3.0, 4.0],
    }


def test_groups_have_a_column(make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    for n in range(4):
        vectors.put(f"{n}", features={"given": [1, 0, 0, n]}, metadata={"half": n // 2})
    found = vectors.search([1, 0, 0, 0], group=Group("half", 1))
    assert to_arrow(found)["group"].to_pylist() == [0, 1]


def test_nothing_found_is_a_table_without_rows() -> None:
    assert to_arrow([]).to_pydict() == {"id": [], "modality": []}
    assert to_pandas([]).empty


@pytest.mark.parametrize(
    ("values", "kinds"),
    [([1, "a"], "int, str"), ([{"a": 1}, [1]], "dict, list"), ([2**70], "int"), ([True, 0.5], "bool, float")],
)
def test_values_without_a_type_in_common(values: list[object], kinds: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"metadata\.key: '{kinds}' given, must be of one type"):
        to_arrow(hits(*({"key": value} for value in values)))
