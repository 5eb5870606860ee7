"""Filters: what they say, what they refuse, and that columns agree with looking at items one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.errors import InvalidArgumentError
from embeddb.query import Prediction
from embeddb.search.columns import Attributes, Columns
from embeddb.search.filter import (
    All,
    AnyOf,
    Compare,
    Condition,
    Contains,
    Exists,
    Field,
    Not,
    OneOf,
    Prefix,
    parse,
)
from embeddb.search.matching import matching
from tests.search.conditions import OPERATORS, conditions, holds

PRICE = Field("metadata", "price")

READINGS: dict[str, Condition] = {
    "price < 20": Compare(PRICE, "<", 20.0),
    "20 > price": Compare(PRICE, "<", 20.0),
    "price != 3": Not(Compare(PRICE, "==", 3.0)),
    "1 < price <= 5": All((Compare(PRICE, ">", 1.0), Compare(PRICE, "<=", 5.0))),
    "price == -1.5": Compare(PRICE, "==", -1.5),
    "price == null": Not(Exists(PRICE)),
    "price != None": Not(Not(Exists(PRICE))),
    "exists(size.width)": Exists(Field("metadata", "size.width")),
    'prefix(brand, "Ac")': Prefix(Field("metadata", "brand"), "Ac"),
    "sold": Compare(Field("metadata", "sold"), "==", True),
    "sold == false": Compare(Field("metadata", "sold"), "==", False),
    'field("any key") == "x"': Compare(Field("metadata", "any key"), "==", "x"),
    "brand in ['a', 'b']": OneOf(Field("metadata", "brand"), ("a", "b")),
    "brand not in ('a',)": Not(OneOf(Field("metadata", "brand"), ("a",))),
    '"outdoor" in tags': Contains(Field("metadata", "tags"), "outdoor"),
    '"cat" in labels("tiny")': Contains(Field("labels", "tiny"), "cat"),
    'label("tiny") == "cat" and score("tiny") > 0.5': All(
        (Compare(Field("label", "tiny"), "==", "cat"), Compare(Field("score", "tiny"), ">", 0.5))
    ),
    'modality() == "image"': Compare(Field("modality"), "==", "image"),
    "not (a or b) and\n c": All(
        (
            Not(
                AnyOf(
                    (
                        Compare(Field("metadata", "a"), "==", True),
                        Compare(Field("metadata", "b"), "==", True),
                    )
                )
            ),
            Compare(Field("metadata", "c"), "==", True),
        )
    ),
}


@pytest.mark.parametrize(("text", "condition"), READINGS.items(), ids=READINGS)
def test_what_a_filter_says(text: str, condition: Condition) -> None:
    assert parse(text) == condition


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot be read"),
        ("price <", "cannot be read to its end"),
        ("price = 3", "cannot be read at character"),
        ("price < cost", "'cost' is no value"),
        ("1 < 2", "'2' is no field|'1' is no field"),
        ("price + 1 < 3", r"'price \+ 1' is no field"),
        ("price is 3", "there is not"),
        ("price < null", "has no order"),
        ("sold < true", "has no order"),
        ("null in tags", "is in no list"),
        ("'a'", "is no condition"),
        ("__import__('os')", "is no field"),
        ("exists(1)", "is no field"),
        ("prefix(brand, 3)", "is no field"),
        ("label() == 'cat'", "is no field"),
        ("price == 1e400 + 2", "is no value"),
        (f"price == {'9' * 400}", "larger than any number"),
        ("(" * 300 + "a" + ")" * 300, "cannot be read"),
        (" and not ".join(["a"] * 5) + " and " + "not " * 60 + "a", "nested more than"),
        ("a or " * 3000 + "a", "at most 10,000 characters"),
        ("a == 'x\0'", "cannot be read"),
    ],
)
def test_what_is_no_filter(text: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint) as caught:
        parse(text)
    assert caught.value.details["field"] == "filter"


ITEMS: list[dict[str, Any]] = [
    {"price": 1, "brand": "Acme", "tags": ["outdoor", "night"], "size": {"width": 3}, "sold": True},
    {"price": 25.5, "brand": "Zeta", "tags": [], "sold": False},
    {"price": None, "brand": "Ab", "tags": ["night", 4, None, ["outdoor"]], "year": 10**400},
    {"price": "on request", "brand": 7, "year": 1999},
    {},
]


def found(text: str, items: list[dict[str, Any]] = ITEMS) -> list[int]:
    columns = Columns()
    # In two steps, so that columns begin and end in the middle.
    halves = [Attributes(10 * place, None, item) for place, item in enumerate(items)]
    for part in (halves[:2], halves[2:]):
        if part:
            columns.append(part)
    return [row // 10 for row in matching(parse(text), columns, text).tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price < 20", [0]),
        ("not price < 20", [1, 2, 3, 4]),
        ("price != 1", [1, 2, 3, 4]),
        ("price == null", [2, 4]),
        ("exists(price)", [0, 1, 3]),
        ('price == "on request"', [3]),
        ('price in [1, "on request"]', [0, 3]),
        ("price in []", []),
        ('brand >= "B"', [1]),
        ('prefix(brand, "A")', [0, 2]),
        ("size.width == 3", [0]),
        ("sold", [0]),
        ("sold == false", [1]),
        ("not sold", [1, 2, 3, 4]),
        ('"night" in tags', [0, 2]),
        ('"night" not in tags', [1, 3, 4]),
        ("4 in tags", [2]),
        ("exists(tags)", [0, 1, 2]),
        ("year > 2000", [2]),
        ("nothing == 3", []),
        ("1 <= price < 30 and (sold or brand == 'Zeta')", [0, 1]),
    ],
)
def test_which_items_a_filter_keeps(text: str, expected: list[int]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tags == 'night'", "tags holds lists of texts and lists of numbers, not texts"),
        ("3 in price", "price holds numbers and texts, not lists of numbers"),
        ("sold == 1", "sold holds true or false, not numbers"),
        ("prefix(year, '19')", "year holds numbers, not texts"),
        ("brand in ['Acme', true]", "brand holds texts and numbers, not true or false"),
    ],
)
def test_a_comparison_that_can_never_hold_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        found(text)


def test_predictions_and_modalities_can_be_asked_for() -> None:
    columns = Columns()
    cat = [Prediction("cat", 0.9), Prediction("dog", 0.1)]
    dog = [Prediction("dog", 0.6), Prediction("cup", 0.4)]
    columns.append([Attributes(1, "image", {}, {"tiny": cat}), Attributes(2, "image", {}, {"tiny": dog})])
    columns.append([Attributes(3, "text", {}), Attributes(4, None, {}, {"tiny": []})])
    expected = {
        'label("tiny") == "cat"': [1],
        'label("tiny") != "cat"': [2, 3, 4],
        'score("tiny") < 0.7': [2],
        '"dog" in labels("tiny")': [1, 2],
        'modality() == "text"': [3],
        "exists(field('tiny'))": [],
    }
    for text, rows in expected.items():
        assert matching(parse(text), columns, text).tolist() == rows, text


# -- Any condition over any items ------------------------------------------------------------------------

NUMBERS = st.integers(-3, 3).map(float) | st.just(0.5)
TEXTS = st.sampled_from(["", "a", "ab", "b", "ä"])

# Every kind of value occurs in every field, so that no comparison is refused.
SEED = [{"x": 0.0}, {"x": ""}, {"x": True}, {"x": [0.0]}, {"x": [""]}]
VALUES = st.none() | NUMBERS | TEXTS | st.booleans() | st.lists(NUMBERS | TEXTS, max_size=3)
ROWS = st.lists(st.dictionaries(st.just("x"), VALUES), max_size=12).map(lambda rows: SEED + rows)
X = Field("metadata", "x")
COMPARISONS = (
    st.builds(Compare, st.just(X), st.sampled_from(list(OPERATORS)), NUMBERS | TEXTS)
    | st.builds(Compare, st.just(X), st.just("=="), st.booleans())
    | st.builds(OneOf, st.just(X), st.lists(NUMBERS | TEXTS, max_size=3).map(tuple))
    | st.builds(Contains, st.just(X), NUMBERS | TEXTS)
    | st.builds(Prefix, st.just(X), TEXTS)
    | st.just(Exists(X))
)
CONDITIONS = conditions(COMPARISONS, max_leaves=6)


@given(ROWS, CONDITIONS, st.integers(1, 17))
def test_columns_agree_with_items_one_by_one(
    rows: list[dict[str, Any]], condition: Condition, batch: int
) -> None:
    columns = Columns()
    for start in range(0, len(rows), batch):
        numbered = enumerate(rows[start : start + batch], start=start)
        columns.append([Attributes(row, None, item) for row, item in numbered])
    expected = [row for row, item in enumerate(rows) if holds(condition, item.get("x"))]
    np.testing.assert_array_equal(matching(condition, columns, ""), expected)


@given(ROWS, CONDITIONS, st.integers(0, 17))
def test_columns_that_were_kept_answer_as_before_and_grow(
    rows: list[dict[str, Any]], condition: Condition, kept: int
) -> None:
    columns = Columns()
    items = [Attributes(row, None, item) for row, item in enumerate(rows)]
    if items[:kept]:
        columns.append(items[:kept])
    columns = Columns.restored({name: array.copy() for name, array in columns.arrays().items()})
    assert (len(columns), columns.last_row) == (len(items[:kept]), len(items[:kept]) - 1)
    if items[kept:]:
        columns.append(items[kept:])
    expected = [row for row, item in enumerate(rows) if holds(condition, item.get("x"))]
    np.testing.assert_array_equal(matching(condition, columns, ""), expected)


@pytest.mark.parametrize("nested", ["not " * 500 + "a", "(" * 500 + "a" + ")" * 500, "-" * 500 + "1 < a"])
def test_what_is_nested_too_deep_is_refused(nested: str) -> None:
    with pytest.raises(InvalidArgumentError, match="filter"):
        parse(nested)
