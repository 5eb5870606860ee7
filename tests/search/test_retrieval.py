"""Searches in process, against the same computed with numpy."""

from __future__ import annotations

import itertools
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
from embeddb.options import Arithmetic, Combine, Diversify, Fusion, FusionMethod, Group, KReciprocal
from embeddb.presets import analogy, recommend
from embeddb.query import BackfillState, Expression, Hit, Item, PutItem, PutStatus, Search, Text, Vector, View
from embeddb.questions import Evaluate
from embeddb.search.fuse import fuse
from embeddb.search.groups import grouped
from embeddb.search.ranking import Ranking
from embeddb.search.reciprocal import reciprocal_distances
from embeddb.space import Space
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


# -- Cutting -------------------------------------------------------------------------------------------


def everything(collection: Collection, **options: object) -> list[Hit]:
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


# -- Several spaces ------------------------------------------------------------------------------------

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


# -- Filters -------------------------------------------------------------------------------------------


@given(st.integers(0, 59), st.sampled_from(Combine))
def test_a_filter_that_keeps_all_changes_nothing(shelves: Collection, n: int, combine: Combine) -> None:
    options: dict[str, Any] = {"k": 7, "arithmetic": Arithmetic(combine)}
    plain = shelves.search(Vector(STORED[n]), **options)
    kept = "shelf.number >= 0 or not exists(shelf.number)"
    assert found(shelves.search(Vector(STORED[n]), filter=kept, **options)) == found(plain)


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
