"""Searches in process, against the same computed with numpy."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.collection import Collection
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.options import Arithmetic, Combine
from embeddb.presets import analogy, recommend
from embeddb.query import Expression, Hit, Item, PutItem, Search, Text, Vector
from tests.conftest import DIMENSION

STORED = np.random.default_rng(5).normal(size=(60, DIMENSION)).astype(np.float32)
UNIT = STORED / np.linalg.norm(STORED, axis=1, keepdims=True)

_numbers = itertools.count()


@pytest.fixture(scope="module")
def sixty(database: Database) -> Collection:
    """Items "0" to "59", whose vectors are `STORED`."""
    collection = database.create_collection("sixty", ["given"])
    collection.put_many([PutItem(str(n), features={"given": v}) for n, v in enumerate(STORED)])
    return collection


@pytest.fixture
def make(database: Database) -> Callable[..., Collection]:
    return lambda *models: database.create_collection(f"retrieval-{next(_numbers)}", models)


def found(hits: list[Hit]) -> list[tuple[str, object]]:
    return [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in hits]


def best(scores: np.ndarray, k: int, left_out: tuple[int, ...] = ()) -> list[tuple[str, float]]:
    order = [n for n in np.argsort(-scores) if n not in left_out][:k]
    return [(str(n), float(scores[n])) for n in order]


def test_a_sum_is_searched_by_its_cosine(sixty: Collection) -> None:
    query = UNIT[3] - 0.5 * UNIT[8]
    expected = UNIT @ (query / np.linalg.norm(query))
    assert found(sixty.search(Item("3") - 0.5 * Item("8"), k=7)) == best(expected, 7, (3, 8))


def test_a_product_is_the_same_as_over_all_items(sixty: Collection) -> None:
    shifted = (1 + UNIT @ UNIT.T) / 2 + 1e-3
    expected = shifted[3] * shifted[5] / shifted[4]
    hits = sixty.search(analogy(Item("4"), Item("3"), Item("5")), 5, arithmetic=Arithmetic(Combine.PRODUCT))
    assert found(hits) == best(expected, 5, (3, 4, 5))


def test_the_best_score_is_the_same_as_over_all_items(sixty: Collection) -> None:
    similarities = UNIT @ UNIT.T
    liked, disliked = similarities[[1, 2]].max(axis=0), similarities[3]
    expected = np.where(liked > disliked, liked, -(disliked**2))
    expression = recommend([Item("1"), Item("2")], [Item("3")])
    hits = sixty.search(expression, 5, arithmetic=Arithmetic("best"))
    assert found(hits) == best(expected, 5, (1, 2, 3))


def test_centring_subtracts_the_mean_from_query_and_items(sixty: Collection) -> None:
    centred = UNIT - UNIT.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    hits = sixty.search(Item("7") - Item("9"), 5, arithmetic=Arithmetic(center=True))
    query = centred[7] - centred[9]
    assert found(hits) == best(centred @ query / np.linalg.norm(query), 5, (7, 9))


def test_the_mean_follows_what_is_written(make: Callable[..., Collection]) -> None:
    collection = make("given")
    collection.put("a", features={"given": [1, 1, 0, 0]})
    collection.put("b", features={"given": [1, 0, 1, 0]})
    ask = Search([Item("a")], arithmetic=Arithmetic(center=True))
    assert [hit.score for hit in collection.search_many(ask)[0]] == [pytest.approx(-1)]
    collection.put("c", features={"given": [1, 0, 0, 1]})
    assert [hit.score for hit in collection.search_many(ask)[0]] == [pytest.approx(-0.5)] * 2
    collection.delete("c")
    assert [hit.score for hit in collection.search_many(ask)[0]] == [pytest.approx(-1)]


def test_centring_needs_a_mean(make: Callable[..., Collection]) -> None:
    collection = make("starter")
    collection.put("only", "a sleeping cat")
    (error,) = collection.search_many(Search([Item("only")], arithmetic=Arithmetic(center=True)))
    assert isinstance(error, InvalidArgumentError)
    assert "is the mean of its modality" in str(error)
    collection.put("rocket", "a rocket")
    assert collection.search("a cat", 1, arithmetic=Arithmetic(center=True))[0].id == "only"
    with pytest.raises(FailedPreconditionError, match="no image items whose mean"):
        collection.search(np.zeros((8, 8), np.uint8), arithmetic=Arithmetic(center=True))


def test_more_hits_than_candidates_are_refused_where_candidates_are_scored() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^k: 201 given, must be at most candidates \(200\)"):
        Search([Text("a")], 201, arithmetic=Arithmetic(center=True))
    assert Search([Text("a")], 201).k == 201
    assert Search([Text("a")], 201, arithmetic=Arithmetic(center=True), candidates=300).k == 201
    with pytest.raises(InvalidArgumentError, match=r"^candidates: 0 given"):
        Search([Text("a")], candidates=0)


@pytest.mark.parametrize("combine", Combine)
@pytest.mark.parametrize("center", [False, True])
def test_explained_hits_are_the_same_hits(sixty: Collection, combine: Combine, center: bool) -> None:
    ask: dict[str, object] = {"k": 4, "arithmetic": Arithmetic(combine, center=center)}
    expression = 2 * Item("3") + Vector([1, 2, 3, 4]) - 0.5 * Item("8")
    plain, explained = sixty.search(expression, **ask), sixty.search(expression, explain=True, **ask)
    assert found(plain) == found(explained)
    for hit in explained:
        assert [each.weight for each in hit.explanation] == [2.0, 1.0, -0.5]
        total = sum(each.share for each in hit.explanation)
        score = np.log(hit.score) if combine is Combine.PRODUCT else hit.score
        assert total == pytest.approx(score, abs=1e-5)
        if not center:
            assert hit.explanation[0].similarity == pytest.approx(UNIT[int(hit.id)] @ UNIT[3], abs=1e-5)


@given(st.integers(0, 59), st.floats(0.01, 100), st.sampled_from(Combine), st.booleans())
def test_the_weight_of_a_lone_operand_does_not_matter(
    sixty: Collection, n: int, weight: float, combine: Combine, center: bool
) -> None:
    def ask(expression: Expression) -> list[tuple[str, object]]:
        return found(sixty.search(expression, 3, arithmetic=Arithmetic(combine, center=center)))

    assert ask(weight * Item(str(n))) == ask(Item(str(n)))
