"""Hits as columns are what the same hits would be as a list."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import embeddb
import embeddb_client
from embeddb.errors import EmbeddbError, NotFoundError
from embeddb.query import Contribution, Hit, HitColumns, Hits, ItemColumns, Modality, StoredItem

Asked = Callable[[Hits], object]

ERROR = NotFoundError("item", "nobody")
counts = st.lists(st.integers(0, 8) | st.just(ERROR), min_size=1, max_size=4)
fields = st.sampled_from(["explanations", "groups", "models"])
MADE: dict[str, Callable[[int], object]] = {
    "explanations": lambda n: (Contribution(1.0, n / 100, n / 100),),
    "groups": lambda n: f"group {n}",
    "models": lambda n: f"model {n}",
}


def columns(outcomes: Sequence[int | EmbeddbError], named: set[str], bare: bool = False) -> HitColumns:
    """Hits that are told apart by all they have; bare ones have neither metadata nor a modality."""
    count = sum(each for each in outcomes if isinstance(each, int))
    items = ItemColumns(
        [f"item {n}" for n in range(count)],
        [] if bare else [f'{{"n": {n}}}' for n in range(count)],
        [] if bare else [(Modality.IMAGE, Modality.TEXT, None)[n % 3] for n in range(count)],
    )
    more = {name: [MADE[name](n) for n in range(count)] for name in named}
    return HitColumns(outcomes, items, [1 - n / 100 for n in range(count)], **more)  # type: ignore[arg-type]


def hits(count: int = 8) -> Hits:
    [_, found] = columns([3, count], set()).hits()
    assert isinstance(found, Hits)
    return found


def told(hit: Hit) -> tuple[object, ...]:
    """All that a hit says."""
    return hit.id, hit.metadata, hit.item.modality, hit.score, hit.explanation, hit.group, hit.model


@given(counts, st.sets(fields), st.booleans())
def test_each_expression_has_its_own(outcomes: list[int | EmbeddbError], named: set[str], bare: bool) -> None:
    batch = columns(outcomes, named, bare)
    places = iter(range(100))
    for outcome, found in zip(outcomes, batch.hits(), strict=True):
        if not isinstance(outcome, int):
            assert found is outcome
            continue
        assert isinstance(found, Hits)
        own = [next(places) for _ in range(outcome)]
        assert found.ids == tuple(f"item {n}" for n in own)
        assert found.scores == tuple(1 - n / 100 for n in own)
        assert [told(hit) for hit in found] == [
            (
                f"item {n}",
                {} if bare else {"n": n},
                None if bare else (Modality.IMAGE, Modality.TEXT, None)[n % 3],
                1 - n / 100,
                MADE["explanations"](n) if "explanations" in named else (),
                MADE["groups"](n) if "groups" in named else None,
                MADE["models"](n) if "models" in named else None,
            )
            for n in own
        ]


@given(counts, st.sets(fields))
def test_columns_of_each_expression_hold_the_same(
    outcomes: list[int | EmbeddbError], named: set[str]
) -> None:
    batch = columns(outcomes, named)
    alone = [found for each in batch.each() for found in each.hits()]
    for found, expected in zip(alone, batch.hits(), strict=True):
        if isinstance(expected, EmbeddbError):
            assert found is expected
        else:
            assert isinstance(found, Hits)
            assert list(map(told, found)) == list(map(told, expected))


ASKED: dict[str, Asked] = {
    "one": lambda found: found[0],
    "the last": lambda found: found[-1],
    "all": list,
    "a slice": lambda found: found[2:4],
    "a comparison": lambda found: found == [None] * len(found),
    "a sum": lambda found: operator.add(found, []),
    "a search": lambda found: None in found,
    "what is pickled": pickle.dumps,
}


@pytest.mark.parametrize("first", ASKED.values(), ids=ASKED)
def test_the_objects_are_made_once_and_all_together(first: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    objects = HitColumns.objects
    monkeypatch.setattr(HitColumns, "objects", lambda each: made.append(len(each.scores)) or objects(each))
    found = hits()
    assert (len(found), bool(found), found.ids[0], found.scores[0]) == (8, True, "item 3", 0.97)
    assert repr(found)
    assert found != []
    assert not made
    first(found)
    assert made == [8]
    for ask in ASKED.values():
        ask(found)
    assert made == [8]


def test_the_metadata_that_was_parsed_stays() -> None:
    found = hits()
    assert found[0] is found[0]
    assert found[0].metadata is found[0].metadata


@given(st.integers(0, 8))
def test_they_are_read_as_a_list_is(count: int) -> None:
    found = hits(count)
    expected = list(found)
    assert list(reversed(found)) == expected[::-1]
    assert len(found) == len(expected)
    assert bool(found) == bool(expected)
    assert sorted(found, key=operator.attrgetter("score")) == expected[::-1]
    for place in range(-count, count):
        assert found[place] is expected[place]
        assert found.index(expected[place]) == expected.index(expected[place])
        assert expected[place] in found
    for place in (count, -count - 1):
        with pytest.raises(IndexError):
            found[place]
    assert Hit(StoredItem("item 3"), 0.97) not in found


places = st.none() | st.integers(-10, 10)


@given(st.integers(0, 8), st.builds(slice, places, places, places.filter(lambda step: step != 0)))
def test_a_part_of_them_is_that_of_a_list(count: int, part: slice) -> None:
    found = hits(count)
    cut = found[part]
    assert isinstance(cut, Hits)
    assert cut == list(found)[part]
    assert cut == found[part]
    assert (cut.ids, cut.scores) == (found.ids[part], found.scores[part])


@given(st.integers(0, 3), st.integers(0, 3))
def test_they_equal_what_a_list_equals(one: int, other: int) -> None:
    found, others = hits(one), hits(other)
    expected = list(found)
    assert found == expected
    assert expected == found
    assert found == Hits(expected)
    # Hits are equal where they are the same objects, and here they are as soon as there are any.
    assert (found == others) == (expected == list(others)) == (one == other == 0)
    assert found != tuple(expected)


@given(st.integers(0, 3), st.integers(0, 3))
def test_they_are_added_as_lists_are(one: int, other: int) -> None:
    found, others = hits(one), hits(other)
    expected = [*found, *others]
    for together in (found + others, found + list(others), list(found) + others):
        assert type(together) is list
        assert together == expected


@given(st.integers(0, 8))
def test_objects_that_are_there_are_kept(count: int) -> None:
    expected = [Hit(StoredItem(str(n)), float(n)) for n in range(count)]
    found = Hits(iter(expected))
    assert found == expected
    assert found.ids == tuple(hit.id for hit in expected)
    assert found.scores == tuple(hit.score for hit in expected)


@given(counts, st.sets(fields))
def test_they_travel_between_processes(outcomes: list[int | EmbeddbError], named: set[str]) -> None:
    found = columns(outcomes, named).hits()
    for sent, received in zip(found, pickle.loads(pickle.dumps(found)), strict=True):
        if isinstance(sent, EmbeddbError):
            assert received == sent
        else:
            assert (received.ids, received.scores) == (sent.ids, sent.scores)
            assert list(map(told, received)) == list(map(told, sent))


def test_one_of_a_batch_travels_without_the_others() -> None:
    def size(expressions: int) -> int:
        return len(pickle.dumps(columns([5] * expressions, set()).hits()[0]))

    assert size(100) == size(1)


@pytest.mark.parametrize(
    ("count", "printed"),
    [
        (0, "Hits(none)"),
        (2, "Hits('item 3' 0.9700, 'item 4' 0.9600)"),
        (5, "Hits('item 3' 0.9700, 'item 4' 0.9600, 'item 5' 0.9500, 'item 6' 0.9400, 'item 7' 0.9300)"),
        (
            1005,
            "Hits('item 3' 0.9700, 'item 4' 0.9600, 'item 5' 0.9500, 'item 6' 0.9400, 'item 7' 0.9300, "
            "1,000 more)",
        ),
    ],
)
def test_how_they_print(count: int, printed: str) -> None:
    assert repr(hits(count)) == printed


def test_nothing_else_is_added_to_them_and_they_have_no_hash() -> None:
    for wrong in ((1,), "a"):
        with pytest.raises(TypeError):
            operator.add(Hits(), wrong)
        with pytest.raises(TypeError):
            operator.add(wrong, Hits())
    with pytest.raises(TypeError):
        hash(Hits())


def test_they_are_exported_where_a_hit_is() -> None:
    assert embeddb.Hits is embeddb_client.Hits is Hits
