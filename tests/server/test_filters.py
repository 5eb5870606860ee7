"""Filters end to end: in searches and deletes, in process and over gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from embeddb.database import Database
from embeddb.errors import InvalidArgumentError, NotFoundError
from embeddb.query import Image, PutItem, Search
from embeddb_client import Client, Collection
from tests.conftest import PHOTOS

QUERY = [1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def shop(make_collection: Callable[..., Collection]) -> Collection:
    """Two hundred things with prices, brands and tags."""
    shop = make_collection("given")
    vectors = np.random.default_rng(0).normal(size=(200, 4))
    items = [
        PutItem(
            f"{n}",
            metadata={"price": n, "brand": "ab"[n % 2], "tags": ["even"] if n % 2 == 0 else []},
            features={"given": vector},
        )
        for n, vector in enumerate(vectors)
    ]
    shop.put_many(items)
    return shop


def test_all_hits_satisfy_the_filter_and_are_the_best_that_do(shop: Collection) -> None:
    everything = [hit.id for hit in shop.search(QUERY, k=200)]
    cheap = shop.search(QUERY, k=10, filter='price < 40 and "even" in tags')
    assert [hit.id for hit in cheap] == [i for i in everything if int(i) < 40 and int(i) % 2 == 0][:10]


def test_k_hits_come_back_whenever_k_items_match(shop: Collection) -> None:
    assert {hit.id for hit in shop.search(QUERY, k=50, filter="price >= 197")} == {"197", "198", "199"}
    assert shop.search(QUERY, k=50, filter="price > 199") == []


def test_a_filter_that_keeps_all_changes_nothing(shop: Collection) -> None:
    plain = shop.search(QUERY, k=30)
    filtered = shop.search(QUERY, k=30, filter="exists(price)")
    assert [(hit.id, hit.score) for hit in filtered] == [(hit.id, hit.score) for hit in plain]


def test_in_process_and_over_grpc_agree(shop: Collection, database: Database) -> None:
    search = Search([QUERY], k=20, filter="price < 100 or brand == 'a'")
    here, there = database.collection(shop.name).search_many(search), shop.search_many(search)
    assert [[(h.id, h.score) for h in hits] for hits in here] == [  # type: ignore[union-attr]
        [(h.id, h.score) for h in hits]  # type: ignore[union-attr]
        for hits in there
    ]


def test_what_was_written_is_filtered_as_it_is_now(shop: Collection) -> None:
    assert len(shop.search(QUERY, k=200, filter="price < 10")) == 10
    shop.put("5", features={"given": QUERY}, metadata={"price": 500})
    shop.put("new", features={"given": QUERY}, metadata={"price": 1})
    shop.delete("7")
    cheap = {hit.id for hit in shop.search(QUERY, k=200, filter="price < 10")}
    assert cheap == {"0", "1", "2", "3", "4", "6", "8", "9", "new"}
    assert [hit.id for hit in shop.search(QUERY, filter="price == 500")] == ["5"]


def test_most_of_the_items_can_be_replaced(shop: Collection) -> None:
    for price in range(3):
        items = [PutItem(f"{n}", metadata={"price": price}, features={"given": QUERY}) for n in range(200)]
        shop.put_many(items)
        assert len(shop.search(QUERY, k=300, filter=f"price == {price}")) == 200
        assert shop.search(QUERY, filter=f"price == {price - 1}") == []


@pytest.mark.parametrize("call", [lambda c, f: c.search(QUERY, filter=f), lambda c, f: c.delete_where(f)])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [("price <", "cannot be read"), ("price == 'a'", "price holds numbers, not texts")],
)
def test_a_wrong_filter_is_refused(
    call: Callable[[Collection, str], object], text: str, complaint: str, shop: Collection
) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint) as caught:
        call(shop, text)
    assert caught.value.details["field"] == "filter"
    assert shop.info().items == 200


def test_a_search_among_items_that_are_named(shop: Collection) -> None:
    assert {hit.id for hit in shop.search(QUERY, filter='id() in ["3", "7", "7000"]')} == {"3", "7"}
    assert {hit.id for hit in shop.search(QUERY, k=50, filter='prefix(id(), "19") and price > 195')} == {
        *("196", "197", "198", "199")
    }
    shop.put("3", features={"given": QUERY}, metadata={"price": 0})
    (first,) = shop.search(QUERY, filter='id() == "3"')
    assert first.score == pytest.approx(1)
    assert shop.delete_where('id() == "3"') == 1
    assert shop.search(QUERY, filter='id() == "3"') == []


def test_delete_by_filter(shop: Collection) -> None:
    with pytest.raises(InvalidArgumentError, match="filter"):
        shop.delete_where("")
    assert shop.delete_where("price >= 150", dry_run=True) == 50
    assert shop.delete_where("price >= 150") == 50
    assert shop.delete_where("price >= 150") == 0
    assert shop.info().items == 150
    with pytest.raises(NotFoundError):
        shop.get("150")
    assert max(int(hit.id) for hit in shop.search(QUERY, k=200)) == 149


def test_delete_by_filter_spares_what_is_replaced_meanwhile(shop: Collection, database: Database) -> None:
    # Every item is made dear while the cheap ones are deleted: each is deleted, or else it is there, dear.
    def replace() -> None:
        for n in range(200):
            shop.put(f"{n}", features={"given": QUERY}, metadata={"price": 1000})

    thread = threading.Thread(target=replace)
    thread.start()
    here = database.collection(shop.name)
    while thread.is_alive():
        here.delete_where("price < 1000")
        time.sleep(0.001)  # Else this thread hardly ever lets the other one have the interpreter's lock.
    thread.join()
    assert len(shop.search(QUERY, k=300, filter="price == 1000")) == 200
    assert shop.info().items == 200


def test_predictions_and_modalities_filter_photos(
    client: Client, make_collection: Callable[..., Collection]
) -> None:
    photos = make_collection("starter", "tiny")
    names = ["chelsea.png", "coffee.png", "rocket.jpg"]
    photos.put_many([PutItem(name, Image(PHOTOS / name)) for name in names])
    photos.put("a sentence", "a cat on a sofa", features={"tiny": np.ones(64)})
    seen = {name: photos.get(name, with_predictions=True).predictions["tiny"][0] for name in names}
    label = seen["chelsea.png"].label
    expected = {name for name in names if seen[name].label == label}
    assert {hit.id for hit in photos.search("a cat", filter=f'label("tiny") == "{label}"')} == expected
    assert {hit.id for hit in photos.search("a cat", filter='modality() == "text"')} == {"a sentence"}
    assert len(photos.search("a cat", filter='modality() == "image"')) == 3
    assert photos.search("a cat", filter='label("tiny") == "no such class"') == []
    for field in ("label", "score", "labels"):
        for wrong in (f'exists({field}("tinny"))', f'price > 1 or not ({field}("tinny") == null)'):
            with pytest.raises(InvalidArgumentError, match=f"{field}.*of no model.* are starter, tiny"):
                photos.search("a cat", filter=wrong)
    with pytest.raises(InvalidArgumentError, match="of no model"):
        photos.delete_where('label("tinny") != "cat"')
    assert photos.info().items == 4
    photos.drop_model("tiny")
    with pytest.raises(InvalidArgumentError, match=r"models are starter$"):
        photos.search("a cat", filter='exists(label("tiny"))')
