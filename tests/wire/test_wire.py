"""What is sent is what arrives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.errors import InvalidArgumentError
from embeddb.options import Arithmetic, Combine, Diversify, Fusion, FusionMethod, Group, KReciprocal
from embeddb.query import (
    CollectionInfo,
    Contribution,
    Expression,
    Hit,
    Image,
    Modality,
    ModelInfo,
    Prediction,
    PutItem,
    Search,
    SpaceStats,
    Stats,
    StoredItem,
    Text,
    View,
)
from embeddb_protos.v1 import common_pb2, expressions_pb2, items_pb2, search_pb2
from embeddb_protos.wire.expressions import (
    expression_from,
    expression_message,
    vector_from,
    vector_message,
)
from embeddb_protos.wire.items import item_from, item_message
from embeddb_protos.wire.puts import put_item_from, put_item_message
from embeddb_protos.wire.search import search_from, search_message
from embeddb_protos.wire.service import model_from, model_message, stats_from, stats_message
from tests.expressions import expressions, ids, vectors
from tests.wire.hits import carried

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ids, inner, max_size=3),
    max_leaves=8,
)


@given(expressions)
def test_expressions(expression: Expression) -> None:
    sent = expression_message(expression).SerializeToString()
    received = expression_from(expressions_pb2.Expression.FromString(sent))
    assert received.terms == expression.terms


@given(vectors)
def test_vectors_are_little_endian_float32(values: np.ndarray) -> None:
    message = vector_message(values)
    assert message.data == values.astype("<f4").tobytes()
    assert np.array_equal(vector_from("vector", message), values)


@pytest.mark.parametrize(("size", "dimension"), [(0, 0), (8, 0), (8, 1), (8, 3), (7, 2), (4, 2**31)])
def test_a_vector_whose_dimension_is_not_its_own_is_refused(size: int, dimension: int) -> None:
    with pytest.raises(InvalidArgumentError, match=r"vector\.data.*4 x dimension"):
        vector_from("vector", common_pb2.Vector(data=bytes(size), dimension=dimension))


def test_malformed_messages_name_their_field() -> None:
    term = expressions_pb2.Term
    for message, field in [
        (expressions_pb2.Expression(), "expression"),
        (expressions_pb2.Expression(terms=[term()]), "expression.operand"),
        (expressions_pb2.Expression(terms=[term(text=" ")]), "text"),
        (expressions_pb2.Expression(terms=[term(item="")]), "item.id"),
        (expressions_pb2.Expression(terms=[term(image=b"")]), "image"),
        (expressions_pb2.Expression(terms=[term(text="a", weight=float("nan"))]), "expression.weight"),
        (expressions_pb2.Expression(terms=[term(expression=expressions_pb2.Expression())]), "expression"),
    ]:
        with pytest.raises(InvalidArgumentError) as caught:
            expression_from(message)
        assert caught.value.details["field"] == field
    for item, field in [
        (items_pb2.PutItem(id="a", metadata_json="[]", content={"text": "a"}), "item.metadata"),
        (items_pb2.PutItem(id="a", metadata_json="{", content={"text": "a"}), "item.metadata"),
        (items_pb2.PutItem(id="a", metadata_json='{"a": NaN}', content={"text": "a"}), "item.metadata"),
        (items_pb2.PutItem(id="a"), "item.content"),
        (items_pb2.PutItem(id="a", content={}), "content"),
        (items_pb2.PutItem(content={"text": "a"}), "item.id"),
    ]:
        with pytest.raises(InvalidArgumentError) as caught:
            put_item_from(item)
        assert caught.value.details["field"] == field


def test_metadata_nested_too_deep_is_an_error_and_not_a_crash() -> None:
    deep = items_pb2.PutItem(
        id="a", content={"text": "a"}, metadata_json='{"a":' * 100_000 + "1" + "}" * 100_000
    )
    with pytest.raises(InvalidArgumentError, match=r"item\.metadata"):
        put_item_from(deep)


@given(ids, st.dictionaries(ids, json_values, max_size=3), vectors)
def test_items_to_put(item_id: str, metadata: dict[str, object], values: np.ndarray) -> None:
    item = PutItem(item_id, Text("a"), metadata, {"m": values})
    received = put_item_from(items_pb2.PutItem.FromString(put_item_message(item).SerializeToString()))
    assert (received.id, received.content, received.metadata) == (item_id, Text("a"), metadata)
    assert np.array_equal(received.features["m"], values)


arithmetics = st.builds(Arithmetic, st.just(Combine.SUM), st.booleans(), st.booleans()) | st.builds(
    Arithmetic, st.sampled_from(Combine), st.just(True), st.booleans()
)
shares = st.floats(0, 1)


def search_of(**options: Any) -> Search:
    scored = options["arithmetic"].scores_anew or options["rerank"] is not None
    return Search([Text("a")], candidates=2000 if scored else None, **options)


searches = st.builds(
    search_of,
    k=st.integers(1, 1000),
    model=st.sampled_from([None, "clip"]),
    include_operands=st.booleans(),
    view=st.builds(View, st.booleans(), st.booleans(), st.booleans()),
    arithmetic=arithmetics,
    explain=st.booleans(),
    offset=st.integers(0, 1000),
    min_score=st.none() | st.floats(-1, 1),
    group=st.none() | st.builds(Group, st.just("a.b"), st.integers(1, 9)),
    rerank=st.none() | st.builds(Diversify, shares),
)


@given(searches)
def test_searches(search: Search) -> None:
    message = search_pb2.SearchRequest.FromString(search_message("photos", search).SerializeToString())
    assert message.collection == "photos"
    assert search_from(message, [Text("a")]) == search


def test_a_search_without_k_gives_ten_and_k_zero_is_refused() -> None:
    assert search_from(search_pb2.SearchRequest(), [Text("a")]).k == 10
    with pytest.raises(InvalidArgumentError, match=r"^k: 0"):
        search_from(search_pb2.SearchRequest(k=0), [Text("a")])


@given(st.sampled_from(FusionMethod), st.lists(st.floats(-2, 2), min_size=2, max_size=2))
def test_searches_in_several_spaces(method: FusionMethod, weights: list[float]) -> None:
    given_weights = [] if method is FusionMethod.SIDE_BY_SIDE else weights
    search = Search([Text("a")], fusion=Fusion(["clip", "dino"], method, given_weights))
    assert search_from(search_message("photos", search), [Text("a")]) == search


def test_a_fusion_of_a_later_version_is_refused() -> None:
    message = search_pb2.SearchRequest(fusion=search_pb2.Fusion(models=["a"], method=99))
    with pytest.raises(InvalidArgumentError, match=r"fusion\.method: 99 given"):
        search_from(message, [Text("a")])


@given(st.builds(KReciprocal, st.integers(6, 50), st.integers(1, 6), shares))
def test_re_ranked_searches(rerank: KReciprocal) -> None:
    search = Search([Text("a")], rerank=rerank)
    assert search_from(search_message("photos", search), [Text("a")]) == search


def test_what_is_left_out_of_a_message_is_the_default() -> None:
    rerank = search_pb2.SearchRequest(k_reciprocal=search_pb2.KReciprocal())
    assert search_from(rerank, [Text("a")]).rerank == KReciprocal()
    diversify = search_pb2.SearchRequest(diversify=search_pb2.Diversify())
    assert search_from(diversify, [Text("a")]).rerank == Diversify()
    group = search_pb2.SearchRequest(group=search_pb2.Group(field="a"))
    assert search_from(group, [Text("a")]).group == Group("a")
    assert search_from(search_pb2.SearchRequest(), [Text("a")]) == Search([Text("a")])


@pytest.mark.parametrize("group", ["a", 1, 1.5, True, False, None])
def test_the_value_that_hits_are_grouped_by(group: str | float | bool | None) -> None:
    [received] = carried([Hit(StoredItem("a"), 0.5, group=group)])
    assert (received.group, type(received.group)) == (group, type(group))


def test_an_arithmetic_of_a_later_version_is_refused() -> None:
    message = search_pb2.SearchRequest(arithmetic=expressions_pb2.Arithmetic(combine=99))
    with pytest.raises(InvalidArgumentError, match=r"arithmetic\.combine: 99 given"):
        search_from(message, [Text("a")])


def test_explanations() -> None:
    hit = Hit(StoredItem("a"), 0.5, (Contribution(2.0, 0.25, 0.75), Contribution(-1.0, 0.5, -0.25)))
    [received] = carried([hit])
    assert received.explanation == hit.explanation


def test_stored_items_and_hits() -> None:
    item = StoredItem(
        "a",
        '{"n":1,"f":1.0}',
        Modality.IMAGE,
        Image(b"jpeg"),
        {"m": np.array([1, 2], np.float32)},
        {"m": (Prediction("cat", 0.5),)},
    )
    for received in (
        item_from(item_message(item)),
        carried([Hit(item, 0.25)])[0].item,
    ):
        assert (received.id, received.metadata, received.modality) == ("a", {"n": 1, "f": 1.0}, "image")
        assert isinstance(received.metadata["f"], float)
        assert isinstance(received.metadata["n"], int)
        assert received.payload == Image(b"jpeg")
        assert np.array_equal(received.features["m"], [1, 2])
        assert received.predictions == {"m": (Prediction("cat", 0.5),)}


def test_models_and_stats() -> None:
    model = ModelInfo("clip", {"loader": "open_clip"}, (Modality.IMAGE, Modality.TEXT), 512, 0, "ab12")
    for each in (model, replace(model, refusal="its weights are gone")):
        assert model_from(model_message(each)) == each
    stats = Stats(
        "0.1.0",
        1.5,
        4096,
        (model,),
        (CollectionInfo("default", ("clip",), 3),),
        {"default": (SpaceStats("clip", 3, 512, "exact"), SpaceStats("vit", 9, 64, "HNSW32", 0.96))},
    )
    assert stats_from(stats_message(stats)) == stats
