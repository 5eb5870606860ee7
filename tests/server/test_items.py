"""Items through the server: what is put is found, and what is wrong changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image as PilImage

from embeddb.collection import BATCH_ITEMS, MAX_PAGE_BYTES
from embeddb.database import Database
from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb.query import Image, Item, Prediction, PutItem, PutResult, PutStatus, Text, Vector, View
from embeddb_client import Client, Collection
from embeddb_protos.v1 import items_pb2, search_pb2
from tests.conftest import PHOTOS

MakeCollection = Callable[..., Collection]
CHELSEA = PHOTOS / "chelsea.png"
COFFEE = PHOTOS / "coffee.png"


def test_an_item_comes_back_as_it_was_put(make_collection: MakeCollection) -> None:
    photos = make_collection("starter", "tiny")
    assert photos.put("cat", CHELSEA, {"kind": "pet", "n": 1, "nested": {"a": [1.5, None]}}) == "created"
    item = photos.get("cat", with_payload=True, with_features=True, with_predictions=True)
    assert item.metadata == {"kind": "pet", "n": 1, "nested": {"a": [1.5, None]}}
    assert item.modality == "image"
    assert item.payload == Image(CHELSEA.read_bytes())
    assert {model: vector.shape for model, vector in item.features.items()} == {
        "starter": (384,),
        "tiny": (64,),
    }
    assert {each.label for each in item.predictions["tiny"]} == {"cat", "dog", "cup"}
    assert sum(each.score for each in item.predictions["tiny"]) == pytest.approx(1, abs=1e-5)
    bare = photos.get("cat")
    assert (bare.payload, bare.features, bare.predictions) == (None, {}, {})


def test_everything_that_makes_an_image_gives_the_same_features(make_collection: MakeCollection) -> None:
    photos = make_collection("tiny")
    with PilImage.open(CHELSEA) as picture:
        pixels = np.asarray(picture)
        made = {"path": CHELSEA, "bytes": CHELSEA.read_bytes(), "pil": picture.copy(), "array": pixels}
    for name, content in made.items():
        photos.put(name, content)
    features = [photos.get(name, with_features=True).features["tiny"] for name in made]
    assert all(np.allclose(each, features[0], atol=1e-6) for each in features)
    assert {hit.id for hit in photos.search(CHELSEA) if hit.score > 0.99999} == set(made)


def test_a_put_is_found_at_once_and_a_delete_is_not(make_collection: MakeCollection) -> None:
    photos = make_collection("given")
    for n in range(50):
        vector = np.random.default_rng(n).normal(size=4)
        photos.put(f"item-{n}", features={"given": vector})
        best = photos.search(vector, k=1)[0]
        assert (best.id, best.score) == (f"item-{n}", pytest.approx(1, abs=1e-6))
        if n % 3 == 0:
            photos.delete(f"item-{n}")
            assert f"item-{n}" not in {hit.id for hit in photos.search(vector, k=100)}


def test_an_overwrite_replaces_everything_together(make_collection: MakeCollection) -> None:
    photos = make_collection("starter", "tiny")
    photos.put("x", CHELSEA, {"old": True})
    before = photos.get("x", with_features=True, with_predictions=True)
    assert photos.put("x", COFFEE, {"new": True}) == "replaced"
    after = photos.get("x", with_payload=True, with_features=True, with_predictions=True)
    assert after.metadata == {"new": True}
    assert after.payload == Image(COFFEE.read_bytes())
    for model in ("starter", "tiny"):
        assert not np.allclose(before.features[model], after.features[model])
    assert before.predictions != after.predictions
    assert [hit.id for hit in photos.search(COFFEE)] == ["x"]
    assert photos.put("x", "now a text") == "replaced"
    assert photos.get("x", with_predictions=True).predictions == {}
    assert photos.search(COFFEE, model="tiny") == []


def test_unchanged_content_is_not_embedded_again(
    make_collection: MakeCollection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_collection("tiny")
    photos.put("x", CHELSEA, {"a": 1})
    before = photos.get("x", with_features=True)
    embedded = []
    registry = database._registry
    monkeypatch.setattr(
        registry, "embed", lambda requests, priority: embedded.extend(requests) or [{}] * len(requests)
    )
    assert photos.put("x", CHELSEA, {"a": 1}) == "unchanged"
    assert photos.put("x", CHELSEA, {"a": 2}) == "replaced"
    assert embedded == []
    after = photos.get("x", with_features=True)
    assert after.metadata == {"a": 2}
    assert np.array_equal(after.features["tiny"], before.features["tiny"])


def test_a_batch_reports_per_item_and_keeps_its_order(make_collection: MakeCollection) -> None:
    photos = make_collection("tiny")
    results = photos.put_many(
        [
            PutItem("good", CHELSEA),
            PutItem("not-an-image", b"this is not an image"),
            PutItem("missing", Image(PHOTOS / "missing.png")),
            PutItem("text", Text("no model here takes texts")),
            PutItem("also-good", COFFEE),
            PutItem("good", COFFEE, {"last": True}),
        ]
    )
    assert [result.id for result in results] == [
        "good", "not-an-image", "missing", "text", "also-good", "good"
    ]  # fmt: skip
    failed = [result.status is PutStatus.FAILED for result in results]
    assert failed == [False, True, True, True, False, False]
    assert all(isinstance(results[i].error, InvalidArgumentError) for i in (1, 2, 3))
    assert photos.get("good").metadata == {"last": True}
    assert photos.info().items == 2


def test_more_than_a_batch_with_progress(make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    rng = np.random.default_rng(0)
    seen: list[int] = []
    items = (PutItem(f"{n:04}", features={"given": rng.normal(size=4)}) for n in range(3500))
    results = vectors.put_many(items, on_progress=lambda done: seen.append(len(done)))
    assert [result.id for result in results] == [f"{n:04}" for n in range(3500)]
    assert sum(seen) == 3500
    assert len(seen) > 3
    assert [item.id for item in vectors.items()] == [f"{n:04}" for n in range(3500)]


def test_a_page_holds_no_more_payloads_than_a_message_has_room_for(make_collection: MakeCollection) -> None:
    texts = make_collection("given")
    ids = [f"{n:02}" for n in range(20)]
    texts.put_many([PutItem(each, "x" * 1_000_000, features={"given": [1, 2, 3, 4]}) for each in ids])
    page = texts.list_items(page_size=20, view=View(payload=True))
    assert [item.id for item in page.items] == ids[: MAX_PAGE_BYTES // 1_000_000]
    assert [item.id for item in texts.items(view=View(payload=True))] == ids
    assert len(texts.list_items(page_size=20).items) == 20


def test_more_ids_are_asked_for_and_deleted_than_one_call_takes(make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    vectors.put_many([PutItem(f"{n}", features={"given": [1, 2, 3, 4]}) for n in range(10)])
    ids = [str(n) for n in range(12_000)]
    got = vectors.get_many(ids)
    assert [isinstance(each, EmbeddbError) for each in got] == [n >= 10 for n in range(12_000)]
    deleted = vectors.delete_many(ids)
    assert [each is None for each in deleted] == [n < 10 for n in range(12_000)]
    assert vectors.info().items == 0


def test_listing_goes_through_pages(make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    ids = sorted(f"{kind}/{n}" for kind in "ab" for n in range(7))
    vectors.put_many([PutItem(each, features={"given": [1, 2, 3, 4]}) for each in ids])
    found, token = [], ""
    while True:
        page = vectors.list_items(page_size=3, page_token=token, view=View(features=True))
        assert len(page.items) <= 3
        assert all(np.array_equal(item.features["given"], [1, 2, 3, 4]) for item in page.items)
        found += [item.id for item in page.items]
        token = page.next_token
        if not token:
            break
    assert found == ids
    assert [item.id for item in vectors.items(prefix="b/")] == ids[7:]
    with pytest.raises(InvalidArgumentError, match="page_size"):
        vectors.list_items(page_size=1001)


def test_deleting_reports_what_was_not_there(make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    vectors.put("a", features={"given": [1, 2, 3, 4]})
    assert vectors.delete_many(["a", "b", "a"]) == [
        None,
        NotFoundError("item", "b"),
        NotFoundError("item", "a"),
    ]
    with pytest.raises(NotFoundError, match="'a'"):
        vectors.delete("a")


@pytest.mark.parametrize("wrong", ["", "a\0", "x" * 481])
def test_what_is_no_id_fails_alone(make_collection: MakeCollection, wrong: str) -> None:
    vectors = make_collection("given")
    vectors.put("a", features={"given": [1, 2, 3, 4]})
    item, refused = vectors.get_many(["a", wrong])
    assert item.id == "a"
    assert isinstance(refused, InvalidArgumentError)
    assert str(refused) == str(vectors.delete_many([wrong])[0])
    assert vectors.delete_many([wrong, "a"])[1] is None


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda c: c.get("nix"), NotFoundError, "no item named 'nix'"),
        (lambda c: c.delete("nix"), NotFoundError, "no item named 'nix'"),
        (lambda c: c.search(Item("nix")), NotFoundError, "no item named 'nix'"),
        (
            lambda c: c.search("a", model="nix"),
            NotFoundError,
            "no model .*'nix'; there are: given, starter, tiny",
        ),
        (lambda c: c.search(b"no image"), InvalidArgumentError, "image: 8 bytes given"),
        (lambda c: c.search([1.0, 2.0]), InvalidArgumentError, "2 dimensions.*the space has 384"),
        (lambda c: c.search([np.nan]), InvalidArgumentError, "NaN or infinity"),
        (lambda c: c.search("a", k=0), InvalidArgumentError, "k: 0 given"),
        (lambda c: c.search("a", k=10_001), InvalidArgumentError, "k: 10001 given"),
        (lambda c: c.search("a", model="tiny"), InvalidArgumentError, "model: 'tiny' given, encodes images"),
        (
            lambda c: c.search("a", model="given"),
            InvalidArgumentError,
            "model: 'given' given, encodes nothing",
        ),
        (lambda c: c.search(Text("a") - Text("a")), InvalidArgumentError, "zero vector"),
        (lambda c: c.put("", "a"), InvalidArgumentError, "item.id"),
        (lambda c: c.put("x" * 481, "a"), InvalidArgumentError, "item.id.*481"),
        (lambda c: c.put("x", "a", ["no"]), InvalidArgumentError, "item.metadata"),
        (lambda c: c.put("x", b"no image"), InvalidArgumentError, "image: 8 bytes"),
        (lambda c: c.put("x", features={"given": [1, 2]}), InvalidArgumentError, "2 dimensions.*must have 4"),
        (
            lambda c: c.put("x", features={"given": [0] * 4}),
            InvalidArgumentError,
            "the zero vector.*no dir",
        ),
        (
            lambda c: c.put("x", features={"given": [1, 2, -1e39, 4]}),
            InvalidArgumentError,
            r"-1e\+39 given, must be within ±3.40282e\+38, which is what float32 holds",
        ),
        (lambda c: c.put("x", features={"nix": [1, 2]}), NotFoundError, "no model .*'nix'"),
        (lambda c: c.put("x"), InvalidArgumentError, "item.content"),
        (lambda c: c.add_model("nix"), NotFoundError, "no model named 'nix'"),
    ],
)
def test_wrong_input_is_named_and_changes_nothing(
    wrong: Callable[[Collection], object],
    error: type[EmbeddbError],
    says: str,
    make_collection: MakeCollection,
) -> None:
    photos = make_collection("starter", "tiny", "given")
    photos.put("there", CHELSEA, {"a": 1})
    before = photos.info()
    with pytest.raises(error, match=says):
        wrong(photos)
    assert photos.info() == before
    assert [item.metadata for item in photos.items()] == [{"a": 1}]


@pytest.mark.parametrize(
    "request_",
    [
        search_pb2.SearchRequest(collection="default"),
        search_pb2.SearchRequest(collection="default", expressions=[{"terms": [{"text": "a"}]}], k=0),
        search_pb2.SearchRequest(collection="nix", expressions=[{"terms": [{"text": "a"}]}]),
    ],
    ids=["no expressions", "k", "collection"],
)
def test_a_search_that_is_refused_as_a_whole(request_: search_pb2.SearchRequest, client: Client) -> None:
    with pytest.raises(EmbeddbError) as caught:
        client._connection.call(client._connection.search.Search, request_)
    assert caught.value.request_id


def test_an_empty_expression_fails_alone(client: Client, make_collection: MakeCollection) -> None:
    name = make_collection("starter").name
    good, empty = {"terms": [{"text": "a"}]}, {}
    request = search_pb2.SearchRequest(collection=name, expressions=[good, empty, good])
    results = client._connection.call(client._connection.search.Search, request).results
    assert [result.WhichOneof("outcome") for result in results] == ["hits", "error", "hits"]
    assert results[1].error.details["field"] == "expression"


def test_puts_of_both_forms_are_reported_in_their_own_and_the_last_of_an_id_stays(
    client: Client, make_collection: MakeCollection
) -> None:
    collection = make_collection("given")
    vectors = np.arange(1, 9, dtype="<f4").reshape(2, 4)
    request = items_pb2.PutItemsRequest(
        collection=collection.name,
        items=[
            {"id": "a", "features": {"given": {"data": vectors[0].tobytes(), "dimension": 4}}},
            {"id": "b"},
        ],
        columns={
            "ids": ["a", "c"],
            "metadata_json": ['{"n":1}', ""],
            "features": {"given": {"data": vectors.tobytes(), "dimension": 4}},
        },
    )
    response = client._connection.call(client._connection.items.PutItems, request)
    assert [each.status for each in response.results] == [
        items_pb2.PUT_STATUS_CREATED,
        items_pb2.PUT_STATUS_FAILED,
    ]
    assert response.results[1].error.details["field"] == "item.content"
    assert list(response.columns.statuses) == [
        items_pb2.PUT_STATUS_REPLACED,
        items_pb2.PUT_STATUS_CREATED,
    ]
    assert [(item.id, item.metadata) for item in collection.items()] == [("a", {"n": 1}), ("c", {})]
    assert np.array_equal(collection.get("c", with_features=True).features["given"], vectors[1])
    request.columns.features["given"].dimension = 2
    with pytest.raises(
        InvalidArgumentError, match=r"columns\.features\[given\]: '4' given, must be one for each"
    ):
        client._connection.call(client._connection.items.PutItems, request)


def test_puts_on_a_stream_are_answered_in_order(client: Client, make_collection: MakeCollection) -> None:
    collection = make_collection("given")
    vector = {"given": {"data": np.ones(4, "<f4").tobytes(), "dimension": 4}}
    batches = [
        items_pb2.PutItemsRequest(collection=collection.name, items=[{"id": "a", "features": vector}]),
        items_pb2.PutItemsRequest(collection="nix", items=[{"id": "b", "features": vector}]),
        items_pb2.PutItemsRequest(
            collection=collection.name, items=[{"id": ""}, {"id": "c", "features": vector}]
        ),
    ]
    requests = (items_pb2.StreamPutItemsRequest(batch=batch) for batch in batches)
    answers = list(client._connection.stream(client._connection.items.StreamPutItems, requests))
    assert [answer.WhichOneof("outcome") for answer in answers] == ["response", "error", "response"]
    assert answers[1].error.reason == "NotFoundError"
    assert [each.status for each in answers[2].response.results] == [
        items_pb2.PUT_STATUS_FAILED,
        items_pb2.PUT_STATUS_CREATED,
    ]
    assert [item.id for item in collection.items()] == ["a", "c"]


def test_the_features_given_are_the_features_stored(make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    values = np.array([1e-15, -3.5, 1e15, 7], np.float32)
    vectors.put("a", features={"given": values})
    assert np.array_equal(vectors.get("a", with_features=True).features["given"], values)
    assert vectors.search(Vector(values))[0].score == pytest.approx(1)


def test_batches_of_one_call_that_overlap_are_written_in_their_order(database: Database) -> None:
    """A batch begins while the one before is committed; one that names the same items must not."""
    items = database.create_collection("overlapping", ["given"])
    vectors = np.eye(4, dtype=np.float32)

    def batch(number: int, vector: int) -> list[PutItem]:
        return [PutItem(f"{number}-{n}", features={"given": vectors[vector]}) for n in range(BATCH_ITEMS)]

    done: list[PutStatus] = []
    stream = [*batch(0, 0), *batch(1, 0), *batch(1, 1), *batch(1, 0), *batch(1, 0), *batch(2, 0)]
    items.put_many(stream, on_progress=lambda results: done.append(results[0].status))
    assert done == ["created", "created", "replaced", "replaced", "unchanged", "created"]
    assert np.array_equal(items.get("1-0", with_features=True).features["given"], vectors[0])
    assert items.info().items == 3 * BATCH_ITEMS


def test_what_came_before_a_stream_breaks_is_stored(database: Database) -> None:
    items = database.create_collection("broken", ["given"])

    def stream() -> Iterator[PutItem]:
        for n in range(BATCH_ITEMS + 1):
            yield PutItem(str(n), features={"given": [1, 2, 3, n]})
        raise OSError("the source is gone")

    done: list[PutResult] = []
    with pytest.raises(OSError, match="the source is gone"):
        items.put_many(stream(), on_progress=done.extend)
    assert len(done) == items.info().items == BATCH_ITEMS
    items.put("after", features={"given": [1, 2, 3, 4]})


def test_predictions_come_with_features(make_collection: MakeCollection) -> None:
    photos = make_collection("tiny", "given")
    seen = [Prediction("cat", 0.75), Prediction("dog", 0.25)]
    pairs = [(each.label, each.score) for each in seen]
    item = PutItem("a", CHELSEA, features={"given": [1, 2, 3, 4]}, predictions={"given": pairs})
    assert photos.put_many([item])[0].status == "created"
    stored = photos.get("a", with_predictions=True).predictions
    assert stored["given"] == tuple(seen)
    assert len(stored["tiny"]) == 3
    assert [hit.id for hit in photos.search([1, 2, 3, 4], model="given", filter='label("given") == "cat"')]
    assert photos.put_many([item])[0].status == "unchanged"
    other = PutItem("a", CHELSEA, features={"given": [1, 2, 3, 4]}, predictions={"given": seen[1:]})
    assert photos.put_many([other])[0].status == "replaced"
    assert photos.get("a", with_predictions=True).predictions["given"] == tuple(seen[1:])


@pytest.mark.parametrize(
    ("predictions", "complaint"),
    [
        (
            {"tiny": [("cat", 0.5)]},
            "item.predictions: 'tiny' given, must be of a model whose features",
        ),
        (
            {"given": [("cat", 1.5)]},
            r"predictions\[given\]: \('cat', 1.5\) given, must be a string with a",
        ),
        ({"given": [("cat", np.nan)]}, "with a score from 0 to 1"),
        ({"given": [(1, 0.5)]}, "must be a string"),
        ({"given": [("cat", "much")]}, "must be labels with scores"),
        ({"given": 0.5}, "must be labels with scores"),
        ([("cat", 0.5)], "must be lists by model name"),
    ],
)
def test_predictions_that_are_none_are_refused(predictions: object, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        PutItem("a", features={"given": [1, 2, 3, 4]}, predictions=predictions)  # type: ignore[arg-type]
