"""The vocabulary: arithmetic, printing and checks."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import embeddb
from embeddb import query
from embeddb.errors import InvalidArgumentError
from embeddb.query import (
    Hit,
    Image,
    PutItem,
    Search,
    StoredItem,
    Sum,
    Text,
    Unit,
    Vector,
    as_content,
    as_expression,
    check_id,
    check_name,
    unit,
)
from tests.expressions import expressions, weights

NAMESPACE = vars(query) | {"inf": float("inf")}


def test_an_expression_prints_as_it_was_typed() -> None:
    typed = "Image('cat.jpg') - Text('a cat') + 0.5 * Item('sku-42')"
    assert repr(eval(typed, NAMESPACE)) == typed


@pytest.mark.parametrize(
    "typed",
    [
        "Text('a')",
        "-Text('a')",
        "-2 * Text('a') - 0.25 * Vector([1, 2.5])",
        "unit(Text('a') + Text('b')) - 3 * Item('c')",
        "Text('it\\'s') + Text('two')",
    ],
)
def test_what_is_printed_reads_back(typed: str) -> None:
    expression = eval(typed, NAMESPACE)
    assert eval(repr(expression), NAMESPACE) == expression


def test_parentheses_are_linear_and_unit_is_not() -> None:
    a, b, c = Text("a"), Text("b"), Text("c")
    assert (a + b) - c == a + b - c
    assert 2 * (a - b) == 2 * a - 2 * b
    assert (a + b) / 2 == 0.5 * a + 0.5 * b
    assert unit(a + b) - c == Sum(((1.0, Unit(a + b)), (-1.0, c)))


@given(expressions, expressions)
def test_addition_keeps_every_term(a: query.Expression, b: query.Expression) -> None:
    assert (a + b).terms == a.terms + b.terms
    assert (a - b).terms == a.terms + (-b).terms


@given(expressions, weights)
def test_a_weight_reaches_every_term(expression: query.Expression, weight: float) -> None:
    assert [w for w, _ in (weight * expression).terms] == [weight * w for w, _ in expression.terms]
    assert (weight * expression) == (expression * weight)


def test_arithmetic_with_anything_else_is_a_type_error() -> None:
    for wrong in (lambda: Text("a") + 1, lambda: Text("a") * Text("b"), lambda: Text("a") - "b"):
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_are_finite(weight: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expression\.weight"):
        weight * Text("a")
    with pytest.raises(InvalidArgumentError, match=r"expression\.weight"):
        Text("a") / 0


def test_images_are_made_of_what_users_have(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(pixels).save(path)
    made = [
        Image(path),
        Image(str(path)),
        Image(path.read_bytes()),
        Image(pixels),
        Image(PIL.Image.open(path)),
    ]
    for image in made:
        decoded = PIL.Image.open(io.BytesIO(image.read()))
        assert np.array_equal(np.asarray(decoded), pixels)


def test_a_pil_image_is_kept_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = 6
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    PIL.Image.fromarray(np.rot90(pixels)).save(tmp_path / "lying.png", exif=exif)
    with PIL.Image.open(tmp_path / "lying.png") as lying:
        kept = Image(lying)
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(kept.read()))), pixels)


def test_a_pil_image_of_32_bits_keeps_16_of_them() -> None:
    grey = np.array([[0, 300], [5000, 65535]], np.int32)
    kept = Image(PIL.Image.fromarray(grey))
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(kept.read()))), grey)


def test_a_damaged_pil_image_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole, "PNG")
    damaged = PIL.Image.open(io.BytesIO(whole.getvalue()[:5000]))
    with damaged, pytest.raises(InvalidArgumentError, match="cannot be decoded"):
        Image(damaged)


@pytest.mark.parametrize(
    "source", [b"", 7, np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), np.zeros((0, 2), np.uint8), None]
)
def test_an_image_of_something_else_is_refused(source: object) -> None:
    with pytest.raises(InvalidArgumentError, match="image"):
        Image(source)  # type: ignore[arg-type]


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # By a short path, for an error shows no more than the beginning of a long one.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"missing\.jpg.*No such file"):
        Image(Path("missing.jpg")).read()
    Path("empty.jpg").touch()
    with pytest.raises(InvalidArgumentError, match="empty"):
        Image(Path("empty.jpg")).read()


MASKED = np.ma.masked_invalid(np.array([1, np.nan], np.float32))


@pytest.mark.parametrize("values", [[], [[1.0]], [np.nan], [np.inf], [1e300], "abc", [None], 3.0, MASKED])
def test_a_vector_of_something_else_is_refused(values: object) -> None:
    with pytest.raises(InvalidArgumentError, match="vector"):
        Vector(values)  # type: ignore[arg-type]


@given(st.integers(1, 5), st.integers(1, 8), st.data())
def test_vectors_of_a_batch_are_those_made_alone(rows: int, dimension: int, data: st.DataObject) -> None:
    numbers = st.floats(-1e6, 1e6, width=32)
    matrix = data.draw(arrays.arrays(np.float32, (rows, dimension), elements=numbers))
    alone = tuple(map(Vector, matrix))
    assert Search(list(matrix)).expressions == alone
    assert Search(matrix).expressions == alone  # type: ignore[arg-type]
    assert Vector.rows(matrix) == alone
    matrix += 1
    assert not any(vector.values.flags.writeable for vector in Vector.rows(matrix))


@given(
    st.integers(0, 4), st.integers(1, 5), st.sampled_from(["<f4", ">f8"]), st.sampled_from("CF"), st.data()
)
def test_items_of_a_matrix_are_those_made_alone(
    rows: int, dimension: int, dtype: str, order: Literal["C", "F"], data: st.DataObject
) -> None:
    numbers = st.floats(-1e6, 1e6, width=32)
    drawn = data.draw(arrays.arrays(dtype, (rows, dimension), elements=numbers))
    matrix = np.array(drawn, order=order)
    metadata = data.draw(st.none() | st.lists(st.just({"a": 1}) | st.just({}), min_size=rows, max_size=rows))
    ids = [str(row) for row in range(rows)]
    items = PutItem.rows(ids, {"m": matrix, "n": matrix[:, :1]}, metadata)
    matrix[:] = 0
    for row, item in enumerate(items):
        about = {} if metadata is None else metadata[row]
        alone = PutItem(ids[row], None, about, {"m": drawn[row], "n": drawn[row, :1]})
        for name in ("id", "content", "metadata", "metadata_json", "predictions"):
            assert getattr(item, name) == getattr(alone, name)
        assert list(item.features) == ["m", "n"]
        for model, vector in item.features.items():
            np.testing.assert_array_equal(vector, alone.features[model])
            assert vector.dtype == np.float32
            assert vector.flags.c_contiguous
            assert not vector.flags.writeable


ROWS = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("ids", "features", "metadata", "field"),
    [
        (["a", ""], {"m": ROWS}, None, "item.id"),
        (["a", "b"], {}, None, "item.features"),
        (["a", "b"], ROWS, None, "item.features"),
        (["a", "b"], {"m": ROWS[0]}, None, "item.features[m]"),
        (["a", "b"], {"m": ROWS[:, :0]}, None, "item.features[m]"),
        (["a", "b"], {"m": ROWS[:1]}, None, "item.features[m]"),
        (["a", "b"], {"m": np.array([[1, 2], [3, 1e300]])}, None, "item.features[m]"),
        (["a", "b"], {"m": [[1, 2], [3]]}, None, "item.features[m]"),
        ("ab", {"m": ROWS}, None, "ids"),
        (iter("ab"), {"m": ROWS}, None, "ids"),
        (["a", 2], {"m": ROWS}, None, "item.id"),
        (["a", "b"], {"m": ROWS}, [{}], "metadata"),
        (["a", "b"], {"m": ROWS}, iter([{}, {}]), "metadata"),
        (["a", "b"], {"m": ROWS}, [{}, {"a": np.nan}], "item.metadata"),
    ],
)
def test_items_of_a_matrix_name_what_is_wrong(ids: Any, features: Any, metadata: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        PutItem.rows(ids, features, metadata)
    assert refused.value.details["field"] == field


def test_features_may_be_vectors_that_are_checked_already() -> None:
    (vector,) = Vector.rows(np.ones((1, 3), np.float32))
    assert PutItem("a", features={"m": vector}).features["m"] is vector.values


def test_a_batch_of_vectors_names_what_is_wrong_with_one() -> None:
    matrix = np.ones((3, 4), np.float32)
    matrix[1, 2] = np.nan
    for batch in (list(matrix), matrix):
        with pytest.raises(InvalidArgumentError, match=r"^vector: 'NaN or infinity' given"):
            Search(batch)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"^vector: 'shape \(0,\)' given"):
        Search(np.empty((2, 0), np.float32))  # type: ignore[arg-type]
    assert [len(v.values) for v in Search([matrix[0], [1, 2], np.ones(3)]).expressions] == [4, 2, 3]


def test_a_vector_cannot_change_under_an_expression() -> None:
    values = np.ones(3, np.float32)
    vector = Vector(values)
    values[0] = 5
    assert vector == Vector([1, 1, 1])
    with pytest.raises(ValueError, match="read-only"):
        vector.values[0] = 5


@pytest.mark.parametrize("text", ["", "  ", None, 3])
def test_a_blank_text_is_refused(text: object) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        Text(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("item_id", ["", "a\0b", "x" * 481, "é" * 241, "\ud800", 7, None])
def test_an_id_that_is_none_is_refused(item_id: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"item\.id"):
        check_id(item_id)  # type: ignore[arg-type]


def test_the_longest_id_is_one() -> None:
    assert check_id("é" * 240) == "é" * 240


@given(st.text())
def test_a_name_is_safe_as_a_folder(name: str) -> None:
    try:
        check_name("collection.name", name)
    except InvalidArgumentError:
        return
    assert Path(name).name == name
    assert name.isascii()


@pytest.mark.parametrize("metadata", [[], "a", None, {"a": float("nan")}, {"a": object()}, {"a": b"bytes"}])
def test_metadata_that_is_no_json_object_is_refused(metadata: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"item\.metadata"):
        PutItem("a", "text", metadata)  # type: ignore[arg-type]


def test_an_item_needs_content_or_features() -> None:
    with pytest.raises(InvalidArgumentError, match=r"item\.content"):
        PutItem("a")
    assert PutItem("a", features={"m": [1, 2]}).features["m"].dtype == np.float32
    with pytest.raises(InvalidArgumentError, match=r"item\.features\[m\]"):
        PutItem("a", features={"m": [1, np.nan]})


def test_plain_values_become_what_they_look_like() -> None:
    assert as_content("a cat") == Text("a cat")
    assert as_content(Path("cat.jpg")) == Image("cat.jpg")
    assert as_expression([1, 2]) == Vector([1, 2])
    assert as_expression(np.array([1.0, 2.0])) == Vector([1, 2])
    assert isinstance(as_expression(np.zeros((2, 2), np.uint8)), Image)
    with pytest.raises(InvalidArgumentError):
        as_expression({"a": 1})


@pytest.mark.parametrize("k", [0, -1, 10_001, 1.5, True, "3", None])
def test_k_out_of_range_is_refused(k: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^k: "):
        Search([Text("a")], k=k)  # type: ignore[arg-type]


def test_a_search_for_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="expressions"):
        Search([])


@pytest.mark.parametrize("module", [embeddb, query, __import__("embeddb.errors").errors])
def test_all_is_sorted_and_complete(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert list(names) == sorted(names, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert all(hasattr(module, name) for name in names)


def test_the_row_of_a_matrix_that_is_not_finite_is_named() -> None:
    matrix = np.ones((5, 3))
    matrix[3, 1] = matrix[4, 0] = np.nan
    with pytest.raises(InvalidArgumentError, match=r"^item\.features\[m\]: 'NaN or infinity in row 3' given"):
        PutItem.rows([str(row) for row in range(5)], {"m": matrix})


@pytest.mark.parametrize("matrix", [ROWS * 1j, (ROWS * 1j).astype(np.complex64)])
def test_imaginary_parts_are_not_left_out(matrix: np.ndarray) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"(?s)^item\.features\[m\]: .*must be a sequence of numbers"
    ):
        PutItem.rows(["a", "b"], {"m": matrix})
    with pytest.raises(InvalidArgumentError, match=r"^vector: "):
        Vector(matrix[0])


def test_keys_of_metadata_are_strings() -> None:
    # JSON's encoder would make "1" of 1, and one of the two would be lost.
    for metadata in ({1: "a", "1": "b"}, {"inner": [{2: "c"}]}):
        with pytest.raises(InvalidArgumentError, match="is not a string"):
            PutItem("a", Text("t"), metadata)  # type: ignore[dict-item]


def test_what_an_item_lacks_is_its_own_and_empty() -> None:
    stored = np.ones(3, np.float32)
    one, other = StoredItem("a"), StoredItem("b", '{"n":1}', features={"m": stored})
    assert (one.features, one.predictions, other.predictions) == ({}, {}, {})
    assert one.features is one.features
    assert one.features is not StoredItem("a").features
    assert one.features is not one.predictions
    assert other.features["m"] is stored
    assert repr(one) == (
        "StoredItem(id='a', metadata_json='{}', modality=None, payload=None, features={}, predictions={})"
    )
    again = pickle.loads(pickle.dumps(Hit(other, 0.5)))
    assert (again.id, again.score, again.metadata) == ("b", 0.5, {"n": 1})


def test_vectors_of_a_batch_are_copies() -> None:
    rows = [np.ones(3, np.float32), np.zeros(3, np.float32)]
    search = Search(rows)
    rows[0][:] = 7
    assert [each.values.tolist() for each in search.expressions] == [[1, 1, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match="read-only"):
        search.expressions[0].values[0] = 2
