"""Which candidates are hits: thresholds, pages, groups and filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.collection import Collection
from embeddb.database import Database
from embeddb.errors import InvalidArgumentError
from embeddb.options import Arithmetic, Combine, Diversify, Fusion, Group, KReciprocal
from embeddb.query import Hits, Item, PutItem, Search, Text, Vector
from embeddb.questions import Evaluate
from embeddb.search.groups import grouped
from tests.search.sixty import STORED, UNIT, found


def everything(collection: Collection, **options: object) -> Hits:
    return collection.search(Vector([1, 2, 3, 4]), 60, **options)


def test_a_threshold_gives_all_that_reach_it_and_no_more(sixty: Collection) -> None:
    hits = everything(sixty)
    threshold = hits[20].score
    assert found(everything(sixty, min_score=threshold)) == found(hits[:21])
    assert found(sixty.search(Vector([1, 2, 3, 4]), 5, min_score=threshold)) == found(hits[:5])
    assert everything(sixty, min_score=1.1) == []


@pytest.mark.parametrize("arithmetic", [Arithmetic(), Arithmetic(center=True), Arithmetic("best")])
@pytest.mark.parametrize("rerank", [None, Diversify(0.3)])
def test_pages_follow_one_another(
    sixty: Collection, arithmetic: Arithmetic, rerank: Diversify | None
) -> None:
    options: dict[str, object] = {"arithmetic": arithmetic, "rerank": rerank}
    pages = [sixty.search(Item("1"), 7, offset=offset, **options) for offset in range(0, 70, 7)]
    assert [found(page) for page in pages] == [
        found(sixty.search(Item("1"), 70, **options)[start : start + 7]) for start in range(0, 70, 7)
    ]


def test_pages_of_equal_items_neither_overlap_nor_leave_gaps(make: Callable[..., Collection]) -> None:
    collection = make("given")
    collection.put_many([PutItem(f"{n:02}", features={"given": [1, n // 20, 0, 0]}) for n in range(40)])
    pages = [collection.search([1, 0, 0, 0], 3, offset=offset) for offset in range(0, 42, 3)]
    assert [hit.id for page in pages for hit in page] == [f"{n:02}" for n in range(40)]


@pytest.fixture(scope="module")
def shelves(database: Database) -> Collection:
    """Sixty items on six shelves, ten each, the nearest ten of the first axis on one of them; one on none."""
    collection = database.create_collection("shelves", ["given"])
    order = np.argsort(-UNIT[:, 0])
    items = [
        PutItem(str(n), features={"given": STORED[n]}, metadata={"shelf": {"number": int(place) // 10}})
        for place, n in enumerate(order)
    ]
    collection.put_many([*items, PutItem("none", features={"given": [1, 0, 0, 0]})])
    return collection


def test_groups_are_of_equal_values_and_in_the_order_of_their_best(shelves: Collection) -> None:
    hits = shelves.search([1, 0, 0, 0], 4, group=Group("shelf.number"))
    assert [hit.group for hit in hits] == [0, 1, 2, 3]
    order = [str(n) for n in np.argsort(-UNIT[:, 0])]
    assert [hit.id for hit in hits] == [order[0], order[10], order[20], order[30]]
    two = shelves.search([1, 0, 0, 0], 2, offset=1, group=Group("shelf.number", size=3))
    assert [hit.group for hit in two] == [1, 1, 1, 2, 2, 2]
    assert [hit.id for hit in two] == [*order[10:13], *order[20:23]]


def test_there_may_be_fewer_groups_and_smaller_ones(shelves: Collection) -> None:
    hits = shelves.search([1, 0, 0, 0], 10, group=Group("shelf.number", size=30))
    assert len(hits) == 60
    assert shelves.search([1, 0, 0, 0], 10, group=Group("nix")) == []
    near = shelves.search([1, 0, 0, 0], 10, group=Group("shelf.number"), min_score=0.0)
    assert all(hit.score >= 0 for hit in near)


def test_true_is_not_one() -> None:
    assert grouped([1, True, None, 1.0, "1", False, 0], 2) == [[0, 3], [1], [4], [5], [6]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, r"^offset: -1 given"),
        ({"offset": 9_995}, r"^k \+ offset: '10 \+ 9995' given, must be at most what can be reached"),
        ({"offset": 195, "rerank": Diversify()}, r"at most candidates \(200\)"),
        ({"min_score": float("nan")}, r"^min_score: nan given"),
        ({"candidates": 2_001, "rerank": KReciprocal()}, r"^candidates: 2001 given, must be at most 2,000"),
        ({"arithmetic": Arithmetic("best"), "rerank": KReciprocal()}, r"^arithmetic\.combine: 'best' given"),
    ],
)
def test_what_cannot_be_cut_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Search([Text("a")], **options)


@pytest.mark.parametrize(
    "make_option",
    [
        lambda: Group(""),
        lambda: Group("a", 0),
        lambda: Diversify(1.1),
        lambda: KReciprocal(0),
        lambda: KReciprocal(5, 6),
        lambda: KReciprocal(weight=-1),
    ],
)
def test_options_out_of_range_are_refused(make_option: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"given, must"):
        make_option()


@given(st.integers(0, 59), st.sampled_from(Combine))
def test_a_filter_that_keeps_all_changes_nothing(shelves: Collection, n: int, combine: Combine) -> None:
    options: dict[str, Any] = {"k": 7, "arithmetic": Arithmetic(combine)}
    plain = shelves.search(Vector(STORED[n]), **options)
    kept = "shelf.number >= 0 or not exists(shelf.number)"
    assert found(shelves.search(Vector(STORED[n]), filter=kept, **options)) == found(plain)


def test_more_hits_than_candidates_are_refused_where_candidates_are_scored() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^k: 201 given, must be at most candidates \(200\)"):
        Search([Text("a")], 201, arithmetic=Arithmetic(center=True))
    assert Search([Text("a")], 201).k == 201
    assert Search([Text("a")], 201, arithmetic=Arithmetic(center=True), candidates=300).k == 201
    with pytest.raises(InvalidArgumentError, match=r"^candidates: 0 given"):
        Search([Text("a")], candidates=0)


def test_candidates_that_nobody_scores_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^candidates: 50 given, must be None where the index"):
        Search([Text("a")], candidates=50)
    with pytest.raises(InvalidArgumentError, match=r"^candidates: 50 given"):
        Search([Text("a")], fusion=Fusion(["a", "b"], "side_by_side"), candidates=50)
    with pytest.raises(InvalidArgumentError, match=r"^candidates: 50 given, must be None without rerank"):
        Evaluate("person", candidates=50)
    for options in (
        {"rerank": Diversify()},
        {"arithmetic": Arithmetic(center=True)},
        {"fusion": Fusion(["a", "b"])},
    ):
        assert Search([Text("a")], candidates=50, **options).shortlist == 50  # type: ignore[arg-type]
