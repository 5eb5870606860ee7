"""Vectors and hits as columns: the same as a message for each of them."""

from __future__ import annotations

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
    Search,
    StoredItem,
    Text,
    Vector,
)
from embeddb_protos.v1 import common_pb2, search_pb2
from embeddb_protos.wire.expressions import expression_message, vectors_message
from embeddb_protos.wire.search import expressions_from, response_from, response_message, search_message
from tests.expressions import ids
from tests.wire.hits import carried

metadata = st.sampled_from(["{}", '{"a":1}', '{"b":"\u00fc"}'])
modalities = st.none() | st.sampled_from(Modality)
scores = st.floats(-1, 1, width=32)
outcomes = st.lists(
    st.lists(st.tuples(ids, metadata, modalities, scores), max_size=4) | st.just(NotFoundError("item", "a")),
    max_size=4,
)
matrices = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(-9, 9, width=32)
)


def shown(answers: list[list[Hit] | EmbeddbError]) -> list[object]:
    return [
        each
        if isinstance(each, EmbeddbError)
        else [(hit.id, hit.item.metadata_json, hit.item.modality, hit.score) for hit in each]
        for each in answers
    ]


@given(outcomes, st.booleans())
def test_hits_arrive_with_and_without_columns(
    found: list[list[tuple[str, str, Modality | None, float]] | EmbeddbError], columns: bool
) -> None:
    hits = [hit for each in found if not isinstance(each, EmbeddbError) for hit in each]
    items = ItemColumns([hit[0] for hit in hits], [hit[1] for hit in hits], [hit[2] for hit in hits])
    counts = [each if isinstance(each, EmbeddbError) else len(each) for each in found]
    message = response_message(HitColumns(counts, items, [hit[3] for hit in hits]), columns=columns)
    received = search_pb2.SearchResponse.FromString(message.SerializeToString())
    assert received.HasField("columns") == columns
    assert len(received.results) == (0 if columns else len(found))
    assert shown(response_from(received)) == found


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
