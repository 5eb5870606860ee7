"""Collections as Parquet files: what is exported is imported again, and other programs can read it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.errors import InvalidArgumentError, NotFoundError
from embeddb.parquet import export_collection, import_collection
from embeddb.query import PutItem, PutStatus, StoredItem, View
from embeddb_client import Collection
from embeddb_client.cli.main import app
from embeddb_server import Server
from tests.conftest import DIMENSION

ALL = View(payload=True, features=True, predictions=True)
numbers = itertools.count()


def parts(item: StoredItem) -> tuple[object, ...]:
    features = {model: vector.tolist() for model, vector in item.features.items()}
    return item.id, item.metadata, item.modality, item.payload, features, item.predictions


def check_same(one: CollectionCalls, other: CollectionCalls) -> None:
    assert list(map(parts, one.items(view=ALL))) == list(map(parts, other.items(view=ALL)))


@pytest.fixture
def filled(make_collection: Callable[..., Collection], photo: Path) -> Collection:
    """A picture, a text and an item of features alone, over gRPC, in a collection of two models."""
    collection = make_collection("tiny", "given")
    collection.put("picture", photo, {"price": 1.5, "tags": ["ä", None]})
    collection.put("text", "a text\nof two lines", features={"given": [1, 2, 3, 4]})
    collection.put("vector", features={"given": [0, 0, 0.1, 0]})
    return collection


def test_a_collection_moves_with_everything(
    filled: Collection, make_collection: Callable[..., Collection], tmp_path: Path
) -> None:
    assert export_collection(filled, tmp_path / "c.parquet") == 3
    other = make_collection("given", "tiny")
    results = import_collection(other, tmp_path / "c.parquet")
    assert {result.status for result in results} == {PutStatus.CREATED}
    check_same(filled, other)
    assert other.search([0, 0, 1, 0])[0].id == "vector"
    assert [path.name for path in tmp_path.iterdir()] == ["c.parquet"]


def test_other_programs_read_it(filled: Collection, tmp_path: Path, photo: Path) -> None:
    export_collection(filled, tmp_path / "c.parquet")
    table = pq.read_table(tmp_path / "c.parquet")
    assert table.column_names == [
        *("id", "metadata", "modality", "payload"),
        *("features.tiny", "features.given", "predictions.tiny", "predictions.given"),
    ]
    rows = {row["id"]: row for row in table.to_pylist()}
    assert json.loads(rows["picture"]["metadata"]) == {"price": 1.5, "tags": ["ä", None]}
    assert rows["picture"]["payload"] == photo.read_bytes()
    assert rows["picture"]["features.given"] is rows["text"]["predictions.tiny"] is None
    seen = filled.get("picture", with_predictions=True).predictions["tiny"]
    assert [(each["label"], each["score"]) for each in rows["picture"]["predictions.tiny"]] == [
        (each.label, pytest.approx(each.score)) for each in seen
    ]
    assert rows["text"]["modality"] == "text"
    assert rows["vector"]["features.given"] == [0, 0, pytest.approx(0.1), 0]
    export_collection(filled, tmp_path / "c.parquet", payloads=False)
    assert "payload" not in pq.read_table(tmp_path / "c.parquet").column_names


def test_without_features_the_models_embed_the_payloads(
    filled: Collection, make_collection: Callable[..., Collection], tmp_path: Path
) -> None:
    export_collection(filled, tmp_path / "c.parquet")
    other = make_collection("tiny")
    imported = import_collection(other, tmp_path / "c.parquet", features=False)
    results = {result.id: result for result in imported}
    assert results["picture"].status is PutStatus.CREATED
    assert "content or features must be given" in str(results["vector"].error)
    assert "has models for: image" in str(results["text"].error)
    (item,) = other.items(view=View(features=True, predictions=True))
    before = filled.get("picture", with_features=True).features["tiny"]
    assert np.allclose(item.features["tiny"], before, atol=1e-5)
    assert item.predictions["tiny"]


IDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)
VALUES = st.none() | st.booleans() | st.integers() | st.text()
METADATA = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)
NUMBERS = st.floats(-(2.0**99), 2.0**99, width=32)
VECTORS = st.lists(NUMBERS, min_size=DIMENSION, max_size=DIMENSION).filter(any)


@settings(max_examples=10)
@given(items=st.dictionaries(IDS, st.tuples(METADATA, VECTORS), max_size=20))
def test_what_is_exported_is_imported_again(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    items: dict[str, tuple[dict[str, object], list[float]]],
) -> None:
    file = tmp_path_factory.mktemp("parquet") / "c.parquet"
    one, other = (database.create_collection(f"parquet-{next(numbers)}", ["given"]) for _ in range(2))
    one.put_many(
        [PutItem(key, None, metadata, {"given": vector}) for key, (metadata, vector) in items.items()]
    )
    assert export_collection(one, file) == len(items)
    assert len(import_collection(other, file)) == len(items)
    check_same(one, other)


def test_files_that_cannot_be_imported(
    filled: Collection, make_collection: Callable[..., Collection], tmp_path: Path
) -> None:
    file = tmp_path / "c.parquet"
    with pytest.raises(InvalidArgumentError, match="must be a file that is there"):
        import_collection(filled, file)
    with pytest.raises(InvalidArgumentError, match="must be a Parquet file"):
        import_collection(filled, tmp_path)
    file.write_bytes(b"not one")
    with pytest.raises(InvalidArgumentError, match="must be a Parquet file"):
        import_collection(filled, file)
    pq.write_table(pa.table({"id": ["a"]}), file)
    with pytest.raises(InvalidArgumentError, match="must have columns id and metadata"):
        import_collection(filled, file)
    pq.write_table(pa.Table.from_arrays([["a"], ["b"], ["{}"]], ["id", "id", "metadata"]), file)
    with pytest.raises(InvalidArgumentError, match=r"must have each column once, has \['id'\] more often"):
        import_collection(filled, file)
    export_collection(filled, file)
    with pytest.raises(NotFoundError, match=r"no model of collection .* named 'tiny'; there are: given"):
        import_collection(make_collection("given"), file)


def test_rows_that_are_no_items_fail_alone(
    make_collection: Callable[..., Collection], tmp_path: Path
) -> None:
    columns = {
        "id": ["a", "", "c", "d", "e", "f", None],
        "metadata": ["{}", "{}", "{", "{}", "[" * 100_000, "[1]", "{}"],
        "modality": [None, None, None, "sound", None, None, None],
        "payload": [None, None, None, b"beep", None, None, None],
        "features.given": [[1.0, 2.0, 3.0, 4.0]] * 7,
    }
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    results = import_collection(make_collection("given"), tmp_path / "c.parquet")
    assert [(result.id, result.status) for result in results] == [
        ("a", PutStatus.CREATED),
        *((each, PutStatus.FAILED) for each in ("", "c", "d", "e", "f", "None")),
    ]
    assert "item.id" in str(results[1].error)
    assert "must be JSON" in str(results[2].error)
    assert "modality: 'sound' given, must be one of image, text" in str(results[3].error)
    assert "must be JSON: maximum recursion depth" in str(results[4].error)
    assert "item.metadata: [1] given, must be a JSON object" in str(results[5].error)
    assert "item.id: None given" in str(results[6].error)


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("metadata", [{"a": 1}], pa.struct([("a", pa.int64())])),
        ("id", [1], pa.int64()),
        ("payload", ["/etc/hostname"], pa.string()),
        ("features.given", [["a"]], pa.list_(pa.string())),
        ("features.given", [1.0], pa.float32()),
        ("predictions.tiny", [["cat"]], pa.list_(pa.string())),
    ],
)
def test_columns_of_other_types_are_refused_before_anything_is_stored(
    make_collection: Callable[..., Collection],
    tmp_path: Path,
    column: str,
    values: list[object],
    kind: pa.DataType,
) -> None:
    columns = {"id": ["a"], "metadata": ["{}"], "modality": ["image"]} | {column: pa.array(values, kind)}
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    collection = make_collection("given", "tiny")
    with pytest.raises(InvalidArgumentError, match=f"column '{column}': .* must be"):
        import_collection(collection, tmp_path / "c.parquet")
    assert collection.info().items == 0


def test_values_that_are_none_fail_alone(make_collection: Callable[..., Collection], tmp_path: Path) -> None:
    columns = {
        "id": ["a", "b", "c"],
        "metadata": ["{}"] * 3,
        "modality": [None, "text", None],
        "payload": [None, b"caf\xe9", None],
        "features.given": [[1.0, None, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]],
    }
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    stored, *failed = import_collection(make_collection("given"), tmp_path / "c.parquet")
    assert (stored.id, stored.status) == ("c", PutStatus.CREATED)
    assert [result.id for result in failed] == ["a", "b"]
    assert "item.features[given]: None given, must have a number in every place" in str(failed[0].error)
    assert "must be UTF-8" in str(failed[1].error)


def test_the_commands(
    filled: Collection, make_collection: Callable[..., Collection], server: Server, tmp_path: Path
) -> None:
    file = str(tmp_path / "c.parquet")
    other = make_collection("tiny", "given")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--server", server.address])
        assert result.exit_code == 0, result.output
        return result.output

    assert f"3 items in {file}" in run("export", file, "--collection", filled.name)
    assert "3 items: 3 created" in run("import", file, "--collection", other.name)
    check_same(filled, other)
    assert json.loads(run("export", file, "--no-payloads", "-c", filled.name, "--json"))["items"] == 3


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "must be a file to write, and is a folder"),
        ("none/a", "must be in a folder that is there"),
    ],
)
def test_a_path_without_a_file_is_refused_before_anything_is_read(
    filled: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str
) -> None:
    monkeypatch.setattr(type(filled), "list_items", lambda *_, **__: pytest.fail("something was read"))
    with pytest.raises(InvalidArgumentError, match=rf"path: '.* given, {why}"):
        export_collection(filled, tmp_path / path)
    assert list(tmp_path.parent.glob("*.unfinished")) == []


def test_a_file_that_is_damaged_tells_how_far_it_was_read(
    make_collection: Callable[..., Collection], tmp_path: Path
) -> None:
    file = tmp_path / "c.parquet"
    vectors = np.random.default_rng(0).normal(size=(6_000, DIMENSION)).astype(np.float32)
    columns = {
        "id": [str(n) for n in range(6_000)],
        "metadata": ["{}"] * 6_000,
        "features.given": pa.array(list(vectors), pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), file, row_group_size=1_000, compression="gzip")
    whole = bytearray(file.read_bytes())
    place = pq.ParquetFile(file).metadata.row_group(5).column(2).data_page_offset
    whole[place : place + 2_000] = bytes(2_000)
    file.write_bytes(whole)
    collection = make_collection("given")
    with pytest.raises(InvalidArgumentError, match="cannot be read to its end") as caught:
        import_collection(collection, file)
    assert "items were stored" in str(caught.value)
    assert collection.info().items > 0


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array([[1.0, 2.0, 3.0, 4.0], None], pa.list_(pa.float64())),
        pa.array([[1.0, 2.0, 3.0, 4.0], None], pa.large_list(pa.float32())),
        pa.array([[1.0, 2.0, 3.0, 4.0], None], pa.list_(pa.float16(), 4)),
        pa.array([[1, 2, 3, 4], None], pa.list_(pa.int64())),
    ],
    ids=lambda value: str(value.type),
)
def test_vectors_and_texts_of_every_type_that_others_write(
    make_collection: Callable[..., Collection], tmp_path: Path, vectors: pa.Array
) -> None:
    columns = {
        "id": pa.array(["a", "b"], pa.large_string()),
        "metadata": pa.array(["{}", None], pa.dictionary(pa.int32(), pa.string())),
        "modality": pa.array(["text", "text"], pa.dictionary(pa.int8(), pa.large_string())),
        "payload": pa.array([b"a text", b"another"], pa.large_binary()),
        "features.given": vectors,
        "predictions.given": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    collection = make_collection("given", "starter")
    results = import_collection(collection, tmp_path / "c.parquet")
    assert [result.error for result in results] == [None, None]
    first, second = collection.items(view=ALL)
    assert first.features["given"].tolist() == [1, 2, 3, 4]
    assert "given" not in second.features
    assert (first.metadata, second.metadata) == ({}, {})
    assert second.payload is not None
    assert second.payload.read() == b"another"
