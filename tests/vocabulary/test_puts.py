"""Results as columns are what the same results would be as a list."""

from __future__ import annotations

import operator
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.errors import NotFoundError
from embeddb.query import PutResult, PutResults, PutStatus

done = st.sampled_from([PutStatus.CREATED, PutStatus.REPLACED, PutStatus.UNCHANGED])
errors = st.builds(NotFoundError, st.just("model"), st.sampled_from("mn"))
results = st.one_of(
    st.builds(PutResult, st.sampled_from("abc"), done),
    st.builds(PutResult, st.sampled_from("abc"), st.just(PutStatus.FAILED), errors),
)
lists = st.lists(results, max_size=6)


@given(lists)
def test_they_are_read_as_a_list_is(expected: list[PutResult]) -> None:
    columns = PutResults.of(expected)
    assert list(columns) == expected
    assert list(reversed(columns)) == expected[::-1]
    assert len(columns) == len(expected)
    assert bool(columns) == bool(expected)
    for place in range(-len(expected), len(expected)):
        assert columns[place] == expected[place]
        assert columns.index(columns[place]) == expected.index(expected[place])
    for place in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            columns[place]


places = st.none() | st.integers(-8, 8)


@given(lists, st.builds(slice, places, places, places.filter(lambda step: step != 0)))
def test_a_part_of_them_is_that_of_a_list(expected: list[PutResult], part: slice) -> None:
    found = PutResults.of(expected)[part]
    assert isinstance(found, PutResults)
    assert list(found) == expected[part]


@given(lists, lists)
def test_they_equal_what_a_list_equals(one: list[PutResult], other: list[PutResult]) -> None:
    assert PutResults.of(one) == PutResults.of([*one])
    assert PutResults.of(one) == one
    assert one == PutResults.of(one)
    assert (PutResults.of(one) == PutResults.of(other)) == (one == other)
    assert (PutResults.of(one) == other) == (one == other)
    assert PutResults.of(one) != tuple(one)
    assert pickle.loads(pickle.dumps(PutResults.of(one))) == one


@given(st.lists(lists, max_size=4))
def test_batches_are_put_together_as_lists_are(batches: list[list[PutResult]]) -> None:
    expected = [result for batch in batches for result in batch]
    assert PutResults.joined(map(PutResults.of, batches)) == expected
    added = PutResults()
    for batch in batches:
        added += batch
        added += PutResults()
    assert isinstance(added, PutResults)
    assert added == expected


@given(lists)
def test_what_is_asked_of_all(expected: list[PutResult]) -> None:
    columns = PutResults.of(expected)
    assert columns.ids == tuple(each.id for each in expected)
    assert columns.statuses == tuple(each.status for each in expected)
    assert columns.errors == {place: each.error for place, each in enumerate(expected) if each.error}
    assert columns.failed == [each for each in expected if each.status is PutStatus.FAILED]
    assert columns.counts() == Counter(each.status for each in expected)


@given(lists, st.sets(st.integers(0, 5)))
def test_results_between_others(expected: list[PutResult], moved: set[int]) -> None:
    others = {place: each for place, each in enumerate(expected) if place in moved}
    rest = [each for place, each in enumerate(expected) if place not in moved]
    assert PutResults.of(rest).among(others) == expected


def test_how_they_print() -> None:
    error = NotFoundError("model", "m")
    statuses = [PutStatus.CREATED] * 1000 + [PutStatus.FAILED]
    results = PutResults(map(str, range(1001)), statuses, {1000: error})
    assert repr(results) == "PutResults(1,000 created, 1 failed)"
    assert repr(PutResults()) == "PutResults(none)"


def test_nothing_else_is_added_to_them_and_they_have_no_hash() -> None:
    with pytest.raises(TypeError):
        operator.add(PutResults(), (1,))
    with pytest.raises(TypeError):
        hash(PutResults())
