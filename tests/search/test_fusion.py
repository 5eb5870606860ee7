"""Searches in several spaces at once, against the same computed with numpy."""

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
from embeddb.options import Diversify, Fusion, FusionMethod
from embeddb.query import Item, PutItem, Search, Text, Vector
from embeddb.search.fuse import fuse
from embeddb.search.ranking import Ranking
from tests.conftest import DIMENSION
from tests.search.sixty import STORED, UNIT, best, found

FUSED = [FusionMethod.RANK, FusionMethod.MIN_MAX, FusionMethod.Z_SCORE]


@pytest.fixture(scope="module")
def twice(database: Database) -> Collection:
    """Sixty items in two spaces: as they are, and with their axes in another order."""
    database.register_model("turned", {"loader": "vectors", "dimension": DIMENSION})
    collection = database.create_collection("twice", ["given", "turned"])
    collection.put_many(
        [PutItem(str(n), features={"given": v, "turned": v[::-1]}) for n, v in enumerate(STORED)]
    )
    return collection


@given(st.integers(0, 59), st.sampled_from(FusionMethod), st.integers(1, 20))
def test_one_space_fused_is_that_space(twice: Collection, n: int, method: FusionMethod, k: int) -> None:
    query = Item(str(n)) + Vector([1, 2, 3, 4])
    plain = twice.search(query, k, model="turned")
    fused = twice.search(query, k, fusion=Fusion(["turned"], method))
    assert [hit.id for hit in fused] == [hit.id for hit in plain]


@pytest.mark.parametrize("method", FUSED)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.5)])
def test_scores_of_two_spaces_are_fused(
    twice: Collection, method: FusionMethod, weights: tuple[float, float]
) -> None:
    query = np.array([1, 2, 3, 4]) / np.sqrt(30)
    total = np.zeros(len(STORED))
    for scores, weight in zip((UNIT @ query, UNIT[:, ::-1] @ query), weights, strict=True):
        if method is FusionMethod.RANK:
            total += weight / (60 + (-scores).argsort().argsort() + 1)
        elif method is FusionMethod.MIN_MAX:
            total += weight * (scores - scores.min()) / (scores.max() - scores.min())
        else:
            total += weight * (scores - scores.mean()) / scores.std()
    fusion = Fusion(["given", "turned"], method, weights)
    assert found(twice.search(Vector(query), 9, offset=1, fusion=fusion)) == best(total, 10)[1:]


def test_what_a_space_did_not_find_counts_least_there() -> None:
    first = Ranking(np.array([1, 2]), np.array([0.9, 0.5]))
    second = Ranking(np.array([3]), np.array([0.2]))
    empty = Ranking(np.array([], np.int64), np.array([]))
    ranks = fuse([first, second, empty], FusionMethod.RANK, (1.0, 1.0, 1.0))
    assert ranks.rows.tolist() == [1, 3, 2]
    assert ranks.scores.tolist() == pytest.approx([1 / 61, 1 / 61, 1 / 62])
    scaled = fuse([first, second], FusionMethod.MIN_MAX, (1.0, 1.0))
    assert dict(zip(scaled.rows.tolist(), scaled.scores.tolist(), strict=True)) == {1: 1.0, 2: 0.0, 3: 0.0}
    scaled = fuse([first, second], FusionMethod.Z_SCORE, (1.0, 1.0))
    assert dict(zip(scaled.rows.tolist(), scaled.scores.tolist(), strict=True)) == pytest.approx(
        {1: 1.0, 2: -1.0, 3: -1.0}
    )


def test_side_by_side_is_the_hits_of_each_space(twice: Collection) -> None:
    options: dict[str, object] = {"explain": True, "rerank": Diversify(0.5)}
    models = ["turned", "given"]
    both = twice.search(Item("3"), 4, fusion=Fusion(models, "side_by_side"), **options)
    each = [(hit, model) for model in models for hit in twice.search(Item("3"), 4, model=model, **options)]
    assert found(both) == found([hit for hit, _ in each])
    assert [hit.model for hit in both] == [model for _, model in each]
    assert all(hit.explanation for hit in both)


def test_fused_hits_can_be_cut_and_filtered(twice: Collection) -> None:
    fusion = Fusion(["given", "turned"], "min_max")
    hits = twice.search(Item("3"), 60, fusion=fusion)
    assert found(twice.search(Item("3"), 60, fusion=fusion, min_score=hits[9].score)) == found(hits[:10])
    assert twice.search(Item("3"), fusion=fusion, filter="nix == 1") == []


@pytest.mark.parametrize("method", FusionMethod)
def test_an_expression_that_one_space_cannot_evaluate_is_an_error(
    make: Callable[..., Collection], method: FusionMethod
) -> None:
    collection = make("starter", "given")
    collection.put("a", "a cat", features={"given": [1, 2, 3, 4]})
    good, bad = collection.search_many(
        Search([Item("a"), Text("a cat")], fusion=Fusion(["starter", "given"], method), include_operands=True)
    )
    assert [hit.id for hit in good] == ["a"] * (2 if method is FusionMethod.SIDE_BY_SIDE else 1)
    assert isinstance(bad, InvalidArgumentError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": []}, r"fusion\.models: \(\) given, must be models"),
        ({"models": ["a", "a"]}, r"fusion\.models"),
        (
            {"models": ["a", "b"], "weights": [1]},
            r"fusion\.weights: \(1,\) given, must be finite, one a model",
        ),
        ({"models": ["a"], "weights": [float("inf")]}, r"fusion\.weights"),
        ({"models": ["a"], "method": "side_by_side", "weights": [1]}, r"must be none side by side"),
        ({"models": ["a"], "method": "sum"}, r"fusion\.method: 'sum' given, must be one of rank"),
    ],
)
def test_a_fusion_of_nothing_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Fusion(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "a"}, r"^model: 'a' given, must be None where fusion names"),
        ({"explain": True}, r"^explain: True given, means nothing for fused hits"),
        ({"rerank": Diversify()}, r"^rerank"),
        ({"k": 201}, r"at most candidates \(200\)"),
    ],
)
def test_what_fused_hits_cannot_have_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Search([Text("a")], fusion=Fusion(["a", "b"]), **options)
