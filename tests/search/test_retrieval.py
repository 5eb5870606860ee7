"""Searches in process, against the same computed with numpy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.collection import Collection
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.options import Arithmetic, Combine, Diversify, KReciprocal
from embeddb.presets import analogy, recommend
from embeddb.query import BackfillState, Expression, Hit, Item, PutItem, PutStatus, Search, Text, Vector, View
from embeddb.search.reciprocal import reciprocal_distances
from embeddb.space import Space
from tests.conftest import DIMENSION
from tests.search.sixty import STORED, UNIT, best, found


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


# -- Re-ranking ----------------------------------------------------------------------------------------


@given(st.integers(0, 59), st.sampled_from([Diversify(1.0), KReciprocal(weight=1.0)]))
def test_re_ranking_by_the_score_alone_changes_nothing(
    sixty: Collection, n: int, rerank: Diversify | KReciprocal
) -> None:
    plain = sixty.search(Item(str(n)), 10)
    assert found(sixty.search(Item(str(n)), 10, candidates=40, rerank=rerank)) == found(plain)


def test_diverse_hits_are_chosen_one_by_one(sixty: Collection) -> None:
    query = np.array([1, 2, 3, 4]) / np.sqrt(30)
    scores = UNIT @ query
    left = [int(n) for n in np.argsort(-scores)[:25]]
    chosen: list[int] = []
    while len(chosen) < 8:
        gain = {n: 0.4 * scores[n] - 0.6 * max((UNIT[n] @ UNIT[c] for c in chosen), default=0) for n in left}
        chosen.append(max(left, key=lambda n: gain[n]))
        left.remove(chosen[-1])
    hits = sixty.search(Vector(query), 8, candidates=25, rerank=Diversify(0.4))
    assert found(hits) == [(str(n), pytest.approx(scores[n], abs=1e-5)) for n in chosen]


def test_k_reciprocal_hits_are_the_candidates_in_the_order_of_their_distances(sixty: Collection) -> None:
    candidates = [int(hit.id) for hit in sixty.search(Item("7"), 30)]
    rerank = KReciprocal(k1=6, k2=3)
    distances = reciprocal_distances(UNIT[7], UNIT[candidates], rerank)
    hits = sixty.search(Item("7"), 30, candidates=30, rerank=rerank)
    assert [int(hit.id) for hit in hits] == [candidates[n] for n in np.argsort(distances, kind="stable")]
    assert [int(hit.id) for hit in hits] != candidates


# -- Batches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arithmetic", [Arithmetic(), Arithmetic(Combine.BEST)])
def test_a_batch_asks_the_index_once(
    sixty: Collection, arithmetic: Arithmetic, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    nearest = Space.nearest

    def counted(space: Space, queries: np.ndarray, *rest: Any, **options: Any) -> Any:
        asked.append(len(queries))
        return nearest(space, queries, *rest, **options)

    expressions = [Vector(v) + 0.3 * Item("5") for v in np.random.default_rng(6).normal(size=(64, DIMENSION))]
    one_by_one = [found(sixty.search(each, 5, arithmetic=arithmetic)) for each in expressions]
    monkeypatch.setattr(Space, "nearest", counted)
    batch = sixty.search_many(Search(expressions, 5, arithmetic=arithmetic))
    assert [found(hits) for hits in batch] == one_by_one
    assert asked == [64 if arithmetic.combine is Combine.SUM else 128]


# -- Explaining ----------------------------------------------------------------------------------------


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


def test_hits_of_one_item_share_its_payload(make: Callable[..., Collection]) -> None:
    collection = make("starter")
    collection.put("a", "a cat")
    (one,), (other,) = collection.search_many(Search(("a cat", "a dog"), view=View(payload=True)))
    assert isinstance(one, Hit)
    assert isinstance(other, Hit)
    assert one.item.payload == Text("a cat")
    assert one.item.payload is other.item.payload
    assert one.item.features is not other.item.features


def test_given_features_are_stored_again_after_their_model_was_dropped(
    database: Database, make: Callable[..., Collection]
) -> None:
    database.register_model("more-given", {"loader": "vectors", "dimension": DIMENSION})
    collection = make("given", "more-given")
    item = PutItem("a", features={"given": STORED[0], "more-given": STORED[1]})
    for metadata in ({}, {"n": 1}):
        collection.put_many([item])
        collection.drop_model("more-given", force=True)
        collection.backfill("more-given")
        while any(each.state is BackfillState.RUNNING for each in collection.backfills()):
            time.sleep(0.01)
        item = PutItem("a", metadata=metadata, features=item.features)
        assert collection.put_many([item])[0].status is PutStatus.REPLACED
        stored = collection.get("a", with_features=True)
        assert stored.metadata == metadata
        assert np.array_equal(stored.features["more-given"], STORED[1])
