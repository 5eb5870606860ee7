"""Arguments of other kinds than were asked for: refused by name, by every part of the vocabulary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from embeddb.arguments import check, check_fields, checked
from embeddb.errors import InvalidArgumentError
from embeddb.options import Arithmetic, Diversify, Fusion, Group, KReciprocal
from embeddb.presets import analogy, away_from, between, direction, mean, recommend
from embeddb.query import CollectionSettings, PutItem, RunOptions, Search, Text, View
from embeddb.questions import (
    Calibrate,
    Classify,
    Compare,
    Duplicates,
    Evaluate,
    Neighbours,
    OwnClasses,
    ZeroShot,
)

WHOLE: list[Any] = [
    Arithmetic(),
    Calibrate("person"),
    Classify(["a"], OwnClasses()),
    CollectionSettings(),
    Compare(["a"]),
    Diversify(),
    Duplicates(),
    Evaluate("person"),
    Fusion(["a", "b"]),
    Group("person"),
    KReciprocal(),
    Neighbours("person"),
    PutItem("a", "text"),
    RunOptions(),
    Search(["a"]),
    View(),
    ZeroShot(["a", "b"]),
]
WRONG = [object(), 5, "x", 1.5, True, [object()], {"a": object()}, 2**70, np.zeros((2, 2))]


@pytest.mark.parametrize(
    ("whole", "field"),
    [(whole, each.name) for whole in WHOLE for each in dataclasses.fields(whole) if each.init],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_field_of_another_kind_is_refused_by_name(whole: Any, field: str) -> None:
    refused = []
    for value in WRONG:
        try:
            dataclasses.replace(whole, **{field: value})
        except InvalidArgumentError as error:
            refused.append(error.details["field"])
    assert refused  # No field takes everything, and nothing else was raised.
    assert any(field in name for name in refused) or field in ("expressions", "others", "content")


@pytest.mark.parametrize(
    ("preset", "arguments"),
    [(mean, 1), (analogy, 3), (away_from, 2), (between, 2), (direction, 2), (recommend, 2)],
)
def test_a_preset_of_something_else_is_refused(preset: Any, arguments: int) -> None:
    for value in (5, object(), {"a": 1}):
        with pytest.raises(InvalidArgumentError):
            preset(*[value] * arguments)


def test_a_string_is_no_sequence_of_letters() -> None:
    for make in (mean, Compare, Search, ZeroShot, Fusion):
        with pytest.raises(InvalidArgumentError, match="'letters' given, must be a list"):
            make("letters")  # type: ignore[operator]


def test_numbers_of_numpy_are_numbers() -> None:
    search = Search(np.eye(2), np.int64(3), min_score=np.float32(0.5), explain=np.bool_(True))  # type: ignore[arg-type]
    assert search == Search([[1, 0], [0, 1]], 3, min_score=0.5, explain=True)
    assert [type(each) for each in (search.k, search.min_score, search.explain)] == [int, float, bool]


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (True, int, "must be a whole number"),
        (1, bool, "must be true or false"),
        ("1", float, "must be a number"),
        (1.0, int | None, "must be a whole number"),
        ([1, "a"], Sequence[int], r"field\[1\]: 'a' given, must be a whole number"),
        (np.float32(1), Sequence[float], "must be a list or another sequence"),
        ([("a", 1)], Mapping[str, int], "must be a mapping"),
        (5, Iterable[int], "must be an iterable"),
        ("a", Text | None, "must be a Text"),
        (None, str | bytes, "must be a string or a bytes"),
    ],
)
def test_what_a_kind_refuses(value: object, kind: object, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        check("field", value, kind)


def test_what_a_kind_takes() -> None:
    assert check("field", None, int | None) is None
    assert check("field", 1, float) == 1
    assert check("field", [1, 2], Sequence[int]) == (1, 2)
    assert check("field", {"a": 1}, Mapping[str, int]) == {"a": 1}
    assert check("field", object, Any) is object


def test_a_function_names_its_argument() -> None:
    @checked
    def repeat(text: str, times: int = 2, *, end: str = "") -> str:
        return text * times + end

    assert repeat("a") == "aa"
    assert repeat("a", times=1, end="b") == "ab"
    with pytest.raises(InvalidArgumentError, match=r"^times: 'b' given, must be a whole number$"):
        repeat("a", "b")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword"):
        repeat("a", foo=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional argument"):
        repeat("a", 1, "b")  # type: ignore[call-arg]


def test_what_is_made_of_fields_is_not_asked_for() -> None:
    @dataclasses.dataclass(frozen=True)
    class Pair:
        one: int
        two: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            check_fields(self, "pair.")

    assert Pair(1).one == 1
    with pytest.raises(InvalidArgumentError, match=r"^pair\.one: "):
        Pair("1")  # type: ignore[arg-type]
