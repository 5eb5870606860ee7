"""Groups of items that are nearly the same."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.answers import duplicates
from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.deadline import Deadline, within
from embeddb.errors import DeadlineExceededError, InvalidArgumentError
from embeddb.query import CollectionSettings, Metric, PutItem
from embeddb.questions import Duplicates
from embeddb.search.components import components
from embeddb_client import Client, Collection

RNG = np.random.default_rng(11)
BASES = RNG.normal(size=(30, 4))
# Thirty things, the first three of them 40, 3 and 2 times, the rest once.
COPIES = [40, 3, 2] + [1] * 27
VECTORS = {
    f"{thing}-{copy:02}": BASES[thing] + 1e-4 * RNG.normal(size=4)
    for thing, copies in enumerate(COPIES)
    for copy in range(copies)
}


@pytest.fixture(scope="module")
def copies(client: Client) -> Collection:
    collection = client.create_collection("copies", ["given"])
    collection.put_many(
        PutItem(name, metadata={"copy": int(name[-2:])}, features={"given": vector})
        for name, vector in VECTORS.items()
    )
    return collection


@pytest.fixture(params=["in process", "over gRPC"])
def asked(request: pytest.FixtureRequest, copies: Collection, database: Database) -> CollectionCalls:
    return database.collection("copies") if request.param == "in process" else copies


def test_copies_are_grouped_and_the_rest_is_not(asked: CollectionCalls) -> None:
    groups = asked.ask(Duplicates(0.99999))
    assert groups == [[f"{thing}-{copy:02}" for copy in range(COPIES[thing])] for thing in range(3)]


def test_a_filter_chooses_who_is_compared(asked: CollectionCalls) -> None:
    assert asked.ask(Duplicates(0.99999, filter="copy in [0, 2]")) == [["0-00", "0-02"], ["1-00", "1-02"]]
    assert asked.ask(Duplicates(0.99999, filter="copy == 0")) == []


def test_blocks_and_few_neighbours_make_no_difference(
    copies: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = copies.ask(Duplicates(0.9))
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    monkeypatch.setattr(duplicates, "NEIGHBOURS", 2)
    assert database.collection("copies").ask(Duplicates(0.9)) == whole


def test_it_ends_when_nobody_waits(copies: Collection, database: Database) -> None:
    with within(Deadline(time.monotonic())), pytest.raises(DeadlineExceededError):
        database.collection("copies").ask(Duplicates())


def test_what_cannot_be_answered_is_refused(asked: CollectionCalls) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^threshold: 1\.5 given"):
        Duplicates(1.5)
    with pytest.raises(InvalidArgumentError, match="filter: 'copy >' given"):
        asked.ask(Duplicates(filter="copy >"))


def test_it_needs_the_cosine(client: Client) -> None:
    apart = client.create_collection("apart", ["given"], CollectionSettings(metric=Metric.L2))
    with pytest.raises(InvalidArgumentError, match="needs the cosine"):
        apart.ask(Duplicates())


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20))
def test_components_are_what_can_be_reached(pairs: list[tuple[int, int]]) -> None:
    reach = {n: {n} for pair in pairs for n in pair}
    for _ in reach:
        for one, other in pairs:
            both = reach[one] | reach[other]
            for n in both:
                reach[n] = reach[n] | both
    expected = {tuple(sorted(group)) for group in reach.values()}
    found = components(pairs)
    assert {tuple(group) for group in found} == expected
    assert [len(group) for group in found] == sorted((len(group) for group in found), reverse=True)
