"""The arithmetic of expressions in a space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb.options import Arithmetic, Combine
from embeddb.presets import analogy, away_from, between, direction, mean, recommend
from embeddb.query import Expression, Image, Item, Modality, Text, Vector, item_ids, unit
from embeddb.search.evaluate import evaluate
from embeddb.search.sums import Query

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

    def modalities(self, ids: Sequence[str]) -> list[Modality | None]:
        return [Modality.IMAGE for _ in ids]

    def mean(self, modality: Modality | None, normalise: bool) -> np.ndarray:
        return MEANS[modality] * (1.0 if normalise else 10.0)


MEANS = {Modality.IMAGE: np.full(D, 0.1), Modality.TEXT: np.full(D, -0.2), None: np.zeros(D)}


def query(expression: Expression, **arithmetic: object) -> Query:
    outcome = evaluate([expression], Letters(), Arithmetic(**arithmetic))[0]
    if isinstance(outcome, EmbeddbError):
        raise outcome
    return outcome


def value(expression: Expression, **arithmetic: object) -> np.ndarray:
    return query(expression, **arithmetic).vector


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


@given(values, directions)
def test_a_vector_alone_is_what_it_is_among_others(a: np.ndarray, b: np.ndarray) -> None:
    (alone,) = evaluate([Vector(a)], Letters(), Arithmetic())
    among, _ = evaluate([Vector(a), Vector(b)], Letters(), Arithmetic())
    if isinstance(alone, EmbeddbError):
        assert not a.any()
        assert str(alone) == str(among)
    else:
        assert isinstance(among, Query)
        assert all(map(np.array_equal, alone, among))


@pytest.mark.parametrize("others", [0, 2])
def test_a_vector_of_another_dimension_is_refused(others: int) -> None:
    expressions = [Vector([1.0] * (D + 1)), *[Vector([1.0] * D)] * others]
    refused, *queries = evaluate(expressions, Letters(), Arithmetic())
    assert isinstance(refused, InvalidArgumentError)
    assert str(refused) == f"vector: '{D + 1} dimensions' given, the space has {D}"
    assert all(isinstance(each, Query) for each in queries)


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
    good, unknown, short, nested = evaluate(expressions, space, Arithmetic())
    assert isinstance(good, Query)
    assert isinstance(nested, Query)
    assert unknown == NotFoundError("item", "dog")
    assert str(short) == "vector: '2 dimensions' given, the space has 5"
    assert len(space.encoded) == 1
    assert sorted(map(repr, space.encoded[0])) == ["Image(<1 bytes>)", "Text('a')", "Text('b')"]


def test_of_no_expressions_there_are_no_queries() -> None:
    assert evaluate([], Letters(), Arithmetic()) == []


def test_the_items_that_an_expression_names() -> None:
    nested = unit(Item("b") - Text("c")) + between(Item("d"), -1 * unit(Item("e")))
    assert item_ids(Item("a") + nested - Item("a")) == ["a", "b", "d", "e"]


# -- Options -------------------------------------------------------------------------------------------


def test_operands_keep_their_lengths_if_asked_to() -> None:
    expression = Vector([3, 0, 0, 0, 0]) + Vector([0, 4, 0, 0, 0])
    assert value(expression)[:2] == pytest.approx([np.sqrt(0.5)] * 2)
    assert value(expression, normalise=False)[:2] == pytest.approx([0.6, 0.8])
    tiny = Vector([3e-20, 0, 0, 0, 0]) + Vector([0, 4e-20, 0, 0, 0])
    assert value(tiny, normalise=False)[:2] == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    ("operand", "modality"), [(Text("a"), "text"), (Image(b"a"), "image"), (Item("cat"), "image")]
)
def test_the_mean_of_its_modality_is_subtracted_from_each_operand(operand: Expression, modality: str) -> None:
    plain = value(operand)
    centred = plain - MEANS[Modality(modality)]
    assert value(operand, center=True) == pytest.approx(centred / np.linalg.norm(centred), abs=1e-6)


def test_a_vector_has_no_modality_and_is_not_centred() -> None:
    assert np.array_equal(value(Vector([1, 2, 3, 4, 5]), center=True), value(Vector([1, 2, 3, 4, 5])))


def test_centred_operands_that_keep_their_lengths_lose_the_mean_of_those_lengths() -> None:
    stored = Letters().stored["cat"] - 10 * MEANS[Modality.IMAGE]
    assert value(Item("cat"), center=True, normalise=False) == pytest.approx(
        stored / np.linalg.norm(stored), abs=1e-6
    )


@pytest.mark.parametrize("combine", [Combine.PRODUCT, Combine.BEST])
def test_products_and_bests_need_something_that_is_wanted(combine: Combine) -> None:
    assert len(query(Item("cat") - Item("cat"), combine=combine).probes(combine)) == 1
    with pytest.raises(InvalidArgumentError, match=f"positive weight to be combined by {combine}"):
        query(-Item("cat"), combine=combine)
    with pytest.raises(InvalidArgumentError, match=r"arithmetic\.normalise: False given"):
        Arithmetic(combine, normalise=False)


def test_an_unknown_way_to_combine_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"arithmetic\.combine: 'max' given.*sum, product, best"):
        Arithmetic("max")


# -- Presets -------------------------------------------------------------------------------------------


def assert_same(left: Expression, right: Expression) -> None:
    assert value(left) == pytest.approx(value(right), abs=1e-6)


@given(directions)
def test_the_mean_of_one_is_itself(a: np.ndarray) -> None:
    assert np.array_equal(value(mean([a])), value(Vector(a)))


@given(directions, directions)
def test_an_analogy_that_goes_nowhere_stays(a: np.ndarray, c: np.ndarray) -> None:
    assert_same(analogy(a, a, c), Vector(c))


@given(directions, directions, st.floats(0, 1))
def test_between_divides_the_angle(a: np.ndarray, b: np.ndarray, t: float) -> None:
    start, end = value(Vector(a)), value(Vector(b))
    angle = np.arccos(np.clip(float(start @ end), -1, 1))
    assume(0.01 < angle < 3.1)
    point = value(between(a, b, t))
    assert np.linalg.norm(point) == pytest.approx(1, abs=1e-6)
    assert np.arccos(np.clip(float(point @ start), -1, 1)) == pytest.approx(t * angle, abs=2e-3)
    assert np.arccos(np.clip(float(point @ end), -1, 1)) == pytest.approx((1 - t) * angle, abs=2e-3)


def test_between_equals_is_there_and_between_opposites_is_refused() -> None:
    assert_same(between(Item("cat"), Item("cat"), 0.3), Item("cat"))
    with pytest.raises(InvalidArgumentError, match="between opposites"):
        value(between(Item("cat"), -Item("cat")))
    with pytest.raises(InvalidArgumentError, match=r"between\.t: 1\.5 given"):
        between(Item("cat"), Text("a"), 1.5)


def test_presets_are_the_arithmetic_that_they_name() -> None:
    a, b, c, d = Text("a"), Text("b"), Text("c"), Item("cat")
    assert_same(mean([a, 3 * b - c, d]), a + unit(3 * b - c) + d)
    assert_same(analogy(a, b, c), c - a + b)
    assert_same(direction([a, b], [c]), 0.5 * (a + b) - c)
    assert_same(away_from(a, b, c, strength=0.3), a - 0.3 * unit(b + c))
    assert_same(recommend([a, b], [c, d]), 0.5 * (a + b) - 0.5 * (c + d))
    assert_same(recommend([a, b]), a + b)


def test_presets_of_nothing_are_refused() -> None:
    for wrong in (lambda: mean([]), lambda: direction([], [Text("a")]), lambda: away_from(Text("a"))):
        with pytest.raises(InvalidArgumentError, match="at least one is needed"):
            wrong()
    with pytest.raises(InvalidArgumentError, match=r"away_from\.strength: 0 given"):
        away_from(Text("a"), Text("b"), strength=0)
