"""What filters ask of ids, of storage that has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.errors import InvalidArgumentError
from embeddb.search.columns import Attributes, Columns
from embeddb.search.filter import Compare, Condition, Exists, Field, OneOf, Prefix, parse
from embeddb.search.ids import with_rows
from embeddb.search.matching import matching
from embeddb.storage import CollectionStore, Put
from tests.search.conditions import OPERATORS, conditions, holds

ID = Field("id")
IDS = ["a", "a/1", "a/2", "ab", "b", "ä", "ä!", "\U0001f600", "x" * 480]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectionStore]:
    """Items of these ids, whose rows do not ascend as the ids do; each was replaced once."""
    store = CollectionStore(tmp_path_factory.mktemp("ids"), "ids", create=True)
    for ids in (IDS, IDS[::-1]):
        store.write([Put(each, "{}", None, None, b"", {}, {}) for each in ids])
    yield store
    store.close()


def found(condition: Condition, store: CollectionStore, text: str = "") -> set[str]:
    """The ids of the items that satisfy a condition."""
    records = store.records_after(-1, 100)
    columns = Columns()
    columns.append([Attributes(record.row, None, {"n": record.row}) for record in records])
    rows = matching(with_rows(condition, store, text), columns, text)
    assert np.all(np.diff(rows) > 0)
    kept = store.by_rows(rows.tolist())
    return {record.id for record in kept if record is not None}


KNOWN = st.sampled_from([*IDS, "0", "a/", "z", "ö"])
COMPARISONS = (
    st.builds(Compare, st.just(ID), st.sampled_from(list(OPERATORS)), KNOWN)
    | st.builds(OneOf, st.just(ID), st.lists(KNOWN, max_size=4).map(tuple))
    | st.builds(Prefix, st.just(ID), KNOWN)
    | st.just(Exists(ID))
)
CONDITIONS = conditions(COMPARISONS, max_leaves=5)


@given(condition=CONDITIONS)
def test_storage_agrees_with_ids_one_by_one(condition: Condition, store: CollectionStore) -> None:
    assert found(condition, store) == {each for each in IDS if holds(condition, each)}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('id() == "a"', {"a"}),
        ('id() in ["a", "b", "nobody"]', {"a", "b"}),
        ('prefix(id(), "a/")', {"a/1", "a/2"}),
        ('"a" < id() <= "ab"', {"a/1", "a/2", "ab"}),
        ('id() not in ["a"] and prefix(id(), "a") and exists(n)', {"a/1", "a/2", "ab"}),
        ("id() == null", set()),
    ],
)
def test_which_ids_a_filter_keeps(text: str, ids: set[str], store: CollectionStore) -> None:
    assert found(parse(text), store, text) == ids


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id() == 3", "id() is a text, and not a number"),
        ('"a" in id()', "id() is a text, and not a list"),
        ('id("a") == "a"', "is no field"),
        ('id() == ""', "no id is as '': .*1 to 480 bytes"),
        (f'prefix(id(), "{"x" * 481}")', "no id is as 'x+': .*this has 481"),
    ],
)
def test_what_no_id_can_be_is_refused(text: str, complaint: str, store: CollectionStore) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint.replace("()", r"\(\)")) as caught:
        found(parse(text), store, text)
    details: dict[str, Any] = caught.value.details
    assert details["field"] == "filter"
