"""Vectors, hits and puts as columns: the same as a message for each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb.query import (
    Hit,
    HitColumns,
    Image,
    ItemColumns,
    Modality,
    PutItem,
    PutResult,
    PutResults,
    PutStatus,
    Search,
    StoredItem,
    Text,
    Vector,
)
from embeddb_protos.v1 import common_pb2, items_pb2, search_pb2
from embeddb_protos.wire.columns import columns_from
from embeddb_protos.wire.expressions import expression_message, vectors_message
from embeddb_protos.wire.puts import (
    put_item_message,
    put_items_from,
    put_request_message,
    put_response_message,
    put_results_from,
    refused_from,
)
from embeddb_protos.wire.search import expressions_from, response_from, response_message, search_message
from tests.expressions import ids
from tests.wire.hits import carried

metadata = st.sampled_from(["{}", '{"a":1}', '{"b":"\u00fc"}'])
modalities = st.none() | st.sampled_from(Modality)
scores = st.floats(-1, 1, width=32)
found_hits = st.lists(
    st.lists(st.tuples(ids, metadata, modalities, scores), max_size=4) | st.just(NotFoundError("item", "a")),
    max_size=4,
)
matrices = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(-9, 9, width=32)
)


def shown(answers: Sequence[Sequence[Hit] | EmbeddbError]) -> list[object]:
    return [
        each
        if isinstance(each, EmbeddbError)
        else [(hit.id, hit.item.metadata_json, hit.item.modality, hit.score) for hit in each]
        for each in answers
    ]


@given(found_hits, st.booleans())
def test_hits_arrive_with_and_without_columns(
    found: list[list[tuple[str, str, Modality | None, float]] | EmbeddbError], columns: bool
) -> None:
    hits = [hit for each in found if not isinstance(each, EmbeddbError) for hit in each]
    items = ItemColumns([hit[0] for hit in hits], [hit[1] for hit in hits], [hit[2] for hit in hits])
    counts = [each if isinstance(each, EmbeddbError) else len(each) for each in found]
    held = HitColumns(counts, items, [hit[3] for hit in hits])
    assert [shown(each.hits()) for each in held.each()] == [[each] for each in found]
    message = response_message(held, columns=columns)
    received = search_pb2.SearchResponse.FromString(message.SerializeToString())
    assert received.HasField("columns") == columns
    assert len(received.results) == (0 if columns else len(found))
    assert shown(response_from(received)) == found
    if columns:
        sent = [hit[2] for hit in hits]
        assert list(columns_from(received.columns).items.modalities) == (sent if any(sent) else [])


@pytest.mark.parametrize(
    "hit",
    [
        Hit(StoredItem("a", payload=Image(b"jpeg")), 0.5),
        Hit(StoredItem("a", features={"m": np.ones(2, np.float32)}), 0.5),
        Hit(StoredItem("a"), 0.5, group="g"),
        Hit(StoredItem("a"), 0.5, model="m"),
    ],
)
def test_hits_that_carry_more_than_columns_hold_arrive_whole(hit: Hit) -> None:
    [received] = carried([hit])
    assert received.item.payload == hit.item.payload
    assert list(received.item.features) == list(hit.item.features)
    assert (received.group, received.model) == (hit.group, hit.model)


@given(matrices)
def test_a_search_for_vectors_is_one_matrix(matrix: np.ndarray) -> None:
    search = Search(list(matrix))
    message = search_pb2.SearchRequest.FromString(search_message("photos", search).SerializeToString())
    assert not message.expressions
    assert expressions_from(message) == list(search.expressions)


def test_vectors_are_a_matrix_only_where_all_are_plain_and_of_one_dimension() -> None:
    for expressions in ([Text("a"), [1, 2]], [[1, 2], [1, 2, 3]], [-Vector([1, 2])]):
        search = Search(expressions)
        message = search_message("photos", search)
        assert len(message.expressions) == len(expressions)
        assert not message.HasField("vectors")
        assert [each.terms for each in expressions_from(message)] == [  # type: ignore[union-attr]
            each.terms for each in search.expressions
        ]


def test_vectors_follow_the_other_expressions_of_a_request() -> None:
    request = search_pb2.SearchRequest(
        expressions=[expression_message(Text("a"))], vectors=vectors_message([np.ones(2, np.float32)])
    )
    first, second = expressions_from(request)
    assert not isinstance(first, EmbeddbError)
    assert (first.terms, second) == (Text("a").terms, Vector([1, 1]))


def test_a_vector_that_is_not_finite_fails_alone() -> None:
    rows = np.ones((3, 2), np.float32)
    rows[1, 0] = np.inf
    first, second, third = expressions_from(search_pb2.SearchRequest(vectors=vectors_message(list(rows))))
    assert isinstance(second, InvalidArgumentError)
    assert first == third == Vector([1, 1])


@pytest.mark.parametrize(("size", "dimension"), [(0, 0), (8, 0), (8, 3), (7, 2), (4, 2**31)])
def test_vectors_that_are_not_whole_are_refused(size: int, dimension: int) -> None:
    vectors = common_pb2.Vectors(data=bytes(size), dimension=dimension)
    with pytest.raises(InvalidArgumentError, match=r"vectors\.data.*4 x dimension"):
        expressions_from(search_pb2.SearchRequest(vectors=vectors))


def put(items: Sequence[PutItem]) -> items_pb2.PutItemsRequest:
    return items_pb2.PutItemsRequest.FromString(put_request_message("photos", items).SerializeToString())


@given(matrices, st.lists(st.dictionaries(ids, st.integers(0, 9), max_size=1), min_size=4, max_size=4))
def test_items_of_features_alone_are_put_as_columns(
    matrix: np.ndarray, described: list[dict[str, int]]
) -> None:
    items = [
        PutItem(str(n), metadata=metadata, features={"a": row, "b": row[:1]})
        for n, (row, metadata) in enumerate(zip(matrix, described, strict=False))
    ]
    request = put(items)
    assert not request.items
    for item, received in zip(items, put_items_from(request), strict=True):
        assert isinstance(received, PutItem)
        assert (received.id, received.metadata) == (item.id, item.metadata)
        assert {m: v.tolist() for m, v in received.features.items()} == {
            m: v.tolist() for m, v in item.features.items()
        }


@pytest.mark.parametrize(
    "others",
    [
        [PutItem("b", "text")],
        [PutItem("b", features={"m": [1, 2, 3]})],
        [PutItem("b", features={"n": [1, 2]})],
        [PutItem("b", features={"m": [1, 2]}, predictions={"m": [("cat", 1)]})],
        [put_item_message(PutItem("b", "text"))],
    ],
)
def test_items_that_are_not_alike_are_put_one_by_one_in_their_order(
    others: list[PutItem | items_pb2.PutItem],
) -> None:
    alike = PutItem("a", features={"m": [1, 2]})
    request = put_request_message("photos", [alike, *others, alike])
    assert not request.HasField("columns")
    assert [each.id for each in put_items_from(request)] == ["a", "b", "a"]  # type: ignore[union-attr]


def test_items_follow_one_another_in_a_request_of_both_forms() -> None:
    request = put([PutItem("b", features={"m": [1, 2]})])
    request.items.append(put_item_message(PutItem("a", "text")))
    assert [each.id for each in put_items_from(request)] == ["a", "b"]  # type: ignore[union-attr]


def test_an_item_of_columns_that_is_malformed_fails_alone() -> None:
    rows = np.ones((4, 2), np.float32)
    rows[1, 0] = np.nan
    columns = items_pb2.PutColumns(ids=["a", "b", "", "d"], metadata_json=["", "", "", "[]"])
    columns.features["m"].CopyFrom(vectors_message(list(rows)))
    parsed = put_items_from(items_pb2.PutItemsRequest(columns=columns))
    fields = [each.details["field"] for each in parsed if isinstance(each, EmbeddbError)]
    assert isinstance(parsed[0], PutItem)
    assert fields == ["item.features[m]", "item.id", "item.metadata"]


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        (items_pb2.PutColumns(ids=["a", "b"], metadata_json=["{}"]), "columns.metadata_json"),
        (items_pb2.PutColumns(ids=["a"], features={"m": {"data": bytes(8), "dimension": 1}}), "features"),
        (items_pb2.PutColumns(ids=["a"], features={"m": {"data": bytes(8), "dimension": 3}}), "data"),
    ],
)
def test_columns_of_other_lengths_are_refused_as_a_whole(columns: items_pb2.PutColumns, field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        put_items_from(items_pb2.PutItemsRequest(columns=columns))


put_outcomes = st.one_of(
    st.sampled_from([PutStatus.CREATED, PutStatus.REPLACED, PutStatus.UNCHANGED]),
    st.just(NotFoundError("model", "m")),
)


@given(st.lists(put_outcomes, min_size=1, max_size=5), st.booleans())
def test_what_became_of_puts(given_outcomes: list[PutStatus | EmbeddbError], as_columns: bool) -> None:
    last = PutItem("last", features={"m": [1, 2]}) if as_columns else PutItem("last", "text")
    items = [PutItem(str(n), features={"m": [1, 2]}) for n in range(len(given_outcomes) - 1)]
    request = put([*items, last])
    assert request.HasField("columns") == as_columns
    sent = [each.id for each in (*items, last)]
    results = [
        PutResult(item_id, PutStatus.FAILED, each)
        if isinstance(each, EmbeddbError)
        else PutResult(item_id, each)
        for item_id, each in zip(sent, given_outcomes, strict=True)
    ]
    message = put_response_message(request, PutResults.of(results)).SerializeToString()
    assert put_results_from(request, items_pb2.PutItemsResponse.FromString(message)) == results
    parsed = [each.error or item for each, item in zip(results, [*items, last], strict=True)]
    fine = PutResults.of(each for each in results if each.error is None)
    assert fine.among(refused_from(request, parsed)) == results
