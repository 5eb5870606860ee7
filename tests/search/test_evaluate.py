"""The arithmetic of expressions in a space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb.query import Expression, Image, Item, Text, Vector, unit
from embeddb.search.evaluate import evaluate, item_ids

D = 5
values = arrays.arrays(np.float32, D, elements=st.floats(-10, 10, width=32))
directions = values.filter(lambda v: np.linalg.norm(v) > 0.1)


class Letters:
    """A space where a text's vector is made from its characters, and items are looked up in a dict."""

    dimension = D

    def __init__(self) -> None:
        self.encoded: list[Sequence[Image | Text]] = []
        self.stored = {"cat": np.arange(D, dtype=np.float32)}

    def encode(self, contents: Sequence[Image | Text]) -> list[np.ndarray | EmbeddbError]:
        self.encoded.append(contents)
        rows = [each.text if isinstance(each, Text) else each.source for each in contents]
        return [np.random.default_rng(sum(map(ord, str(r)))).normal(size=D).astype(np.float32) for r in rows]

    def lookup(self, ids: Sequence[str]) -> list[np.ndarray | EmbeddbError]:
        return [self.stored.get(each, NotFoundError("item", each)) for each in ids]


def value(expression: Expression) -> np.ndarray:
    outcome = evaluate([expression], Letters())[0]
    if isinstance(outcome, EmbeddbError):
        raise outcome
    return outcome


@given(st.lists(st.tuples(st.floats(-3, 3), directions), min_size=1, max_size=4))
def test_it_is_the_normalised_sum_of_normalised_operands(terms: list[tuple[float, np.ndarray]]) -> None:
    total = sum(w * v.astype(np.float64) / np.linalg.norm(v.astype(np.float64)) for w, v in terms)
    assume(np.linalg.norm(total) > 1e-3)
    expression = sum((w * Vector(v) for w, v in terms[1:]), terms[0][0] * Vector(terms[0][1]))
    assert value(expression) == pytest.approx(total / np.linalg.norm(total), abs=1e-5)
    assert np.linalg.norm(value(expression)) == pytest.approx(1, abs=1e-6)


@given(directions, directions)
def test_addition_commutes(a: np.ndarray, b: np.ndarray) -> None:
    assume(np.linalg.norm(a / np.linalg.norm(a) + b / np.linalg.norm(b)) > 1e-3)
    assert np.array_equal(value(Vector(a) + Vector(b)), value(Vector(b) + Vector(a)))


@given(directions, st.floats(1e-30, 1e30))
def test_the_length_of_one_operand_and_its_weight_do_not_matter(a: np.ndarray, weight: float) -> None:
    assert np.array_equal(value(weight * Vector(a)), value(Vector(a)))
    assert value(-weight * Vector(a)) == pytest.approx(-value(Vector(a)))


def test_unit_gives_a_nested_sum_one_say() -> None:
    a, b, c = Vector([1, 0, 0, 0, 0]), Vector([0.9, 0.1, 0, 0, 0]), Vector([0, 0, 1, 0, 0])
    nested = value(unit(a + b) + c)
    flat = value(a + b + c)
    assert nested[2] == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert flat[2] < 0.5


@pytest.mark.parametrize(
    "expression",
    [
        Item("cat") - Item("cat"),
        0 * Item("cat"),
        0.1 * Text("a") + 0.2 * Text("a") - 0.3 * Text("a"),
        Vector([1] * D) + unit(Text("b") - Text("b")),
        Vector([0] * D),
    ],
    ids=repr,
)
def test_what_has_no_direction_is_refused(expression: Expression) -> None:
    with pytest.raises(InvalidArgumentError, match="zero vector, which has no direction"):
        value(expression)


def test_each_expression_fails_alone_and_everything_is_encoded_once_in_one_call() -> None:
    space = Letters()
    expressions = [
        Text("a") + Text("b"),
        Item("dog"),
        Vector([1, 2]),
        unit(Text("a") + Image(b"b")) - Item("cat"),
    ]
    good, unknown, short, nested = evaluate(expressions, space)
    assert isinstance(good, np.ndarray)
    assert isinstance(nested, np.ndarray)
    assert unknown == NotFoundError("item", "dog")
    assert str(short) == "vector: '2 dimensions' given, the space has 5"
    assert len(space.encoded) == 1
    assert sorted(map(repr, space.encoded[0])) == ["Image(<1 bytes>)", "Text('a')", "Text('b')"]


def test_the_items_that_an_expression_names() -> None:
    assert item_ids(Item("a") + unit(Item("b") - Text("c")) - Item("a")) == {"a", "b"}
