"""Search: similarity, arithmetic and across modalities, the same in process and over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from embeddb.database import Database
from embeddb.errors import EmbeddbError, NotFoundError
from embeddb.options import Arithmetic, Combine, Diversify, Fusion, FusionMethod, Group, KReciprocal
from embeddb.presets import between
from embeddb.query import Expression, Hit, Image, Item, PutItem, Search, Text, Vector, unit
from embeddb_client import Client, Collection
from embeddb_protos.v1 import search_pb2
from embeddb_protos.wire.expressions import vector_message, vectors_message
from embeddb_server import Server
from tests.conftest import PHOTOS

NAMES = ["chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "camera.png", "astronaut.png"]


@pytest.fixture(scope="module")
def photos(client: Client) -> Collection:
    photos = client.create_collection("photos", ["starter", "tiny"])
    items = [PutItem(name.partition(".")[0], Image(PHOTOS / name), {"file": name}) for name in NAMES]
    assert [result.status for result in photos.put_many(items)] == ["created"] * len(items)
    return photos


def test_an_image_finds_itself_and_its_like(photos: Collection) -> None:
    hits = photos.search(PHOTOS / "chelsea.png", k=3)
    assert (hits[0].id, hits[0].score) == ("chelsea", pytest.approx(1, abs=1e-4))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    ("sentence", "subject"),
    [
        ("a kitten", "chelsea"),
        ("a hot drink in a cup", "coffee"),
        ("a spacecraft being launched", "rocket"),
        ("a vehicle with two wheels", "motorcycle_left"),
        ("a person taking a photograph", "camera"),
    ],
)
def test_a_sentence_finds_its_photo(sentence: str, subject: str, photos: Collection) -> None:
    assert photos.search(sentence, k=1)[0].id == subject


def test_arithmetic_moves_from_one_subject_to_another(photos: Collection) -> None:
    asked = Item("chelsea") - Text("a cat") + Text("a cup of coffee")
    assert photos.search(asked, k=1)[0].id == "coffee"
    asked = Item("coffee") - Text("a cup of coffee") + Text("a rocket")
    assert photos.search(asked, k=1)[0].id == "rocket"


def test_items_that_are_operands_are_left_out_unless_asked_for(photos: Collection) -> None:
    everyone = len(NAMES)
    hits = photos.search(Item("chelsea") + unit(Item("coffee")), k=everyone)
    assert {"chelsea", "coffee"}.isdisjoint(hit.id for hit in hits)
    assert len(hits) == everyone - 2
    with_operands = photos.search(Item("chelsea"), k=everyone, include_operands=True)
    assert with_operands[0].id == "chelsea"
    assert len(with_operands) == everyone


def test_hits_carry_what_is_asked_for(photos: Collection) -> None:
    plain = photos.search("a kitten", k=1)[0].item
    assert plain.metadata == {"file": "chelsea.png"}
    assert (plain.payload, plain.features, plain.predictions) == (None, {}, {})
    full = photos.search("a kitten", k=1, with_payload=True, with_features=True, with_predictions=True)[
        0
    ].item
    assert full.payload == Image((PHOTOS / "chelsea.png").read_bytes())
    assert full.features["starter"].shape == (384,)
    assert len(full.predictions["tiny"]) == 3


EXPRESSIONS: list[Expression] = [
    Text("a kitten"),
    Item("coffee"),
    Image(PHOTOS / "rocket.jpg") - 0.5 * Text("a rocket") + 2 * Item("camera"),
    unit(Text("a cat") + Text("a dog")) - Vector(np.ones(384)),
]


def shown(hits: Sequence[Hit] | EmbeddbError) -> object:
    if isinstance(hits, EmbeddbError):
        return hits
    return [(hit.id, pytest.approx(hit.score, abs=1e-5), hit.metadata) for hit in hits]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=repr)
@pytest.mark.parametrize("model", [None, "starter"])
def test_in_process_and_over_grpc_agree(
    expression: Expression, model: str | None, photos: Collection, database: Database
) -> None:
    here = database.collection(photos.name).search(expression, model=model)
    there = photos.search(expression, model=model)
    assert shown(here) == shown(there)
    assert here


@pytest.mark.parametrize(
    "options",
    [
        {"arithmetic": Arithmetic(normalise=False), "explain": True},
        {"arithmetic": Arithmetic(Combine.PRODUCT), "explain": True},
        {"arithmetic": Arithmetic(Combine.BEST), "explain": True, "candidates": 10},
        {"k": 2, "offset": 1, "min_score": 0.01},
        {"group": Group("file"), "rerank": Diversify(0.2)},
        {"rerank": KReciprocal(3, 2)},
    ],
    ids=str,
)
def test_options_mean_the_same_in_process_and_over_grpc(
    options: dict[str, Any], photos: Collection, database: Database
) -> None:
    expression = EXPRESSIONS[2] + between(Text("a cup"), Item("chelsea"), 0.2)
    here = database.collection(photos.name).search(expression, **options)
    there = photos.search(expression, **options)
    assert shown(here) == shown(there)
    assert [hit.group for hit in here] == [hit.group for hit in there]
    assert [[astuple(each) for each in hit.explanation] for hit in there] == [
        [pytest.approx(astuple(each), abs=1e-5) for each in hit.explanation] for hit in here
    ]


@pytest.mark.parametrize("method", FusionMethod)
def test_several_spaces_mean_the_same_in_process_and_over_grpc(
    method: FusionMethod, photos: Collection, database: Database
) -> None:
    options: dict[str, Any] = {"k": 3, "fusion": Fusion(["starter", "tiny"], method)}
    expression = Image(PHOTOS / "rocket.jpg") + Item("camera")
    here = database.collection(photos.name).search(expression, **options)
    there = photos.search(expression, **options)
    assert shown(here) == shown(there)
    assert [hit.model for hit in here] == [hit.model for hit in there]
    assert len(here) == (6 if method is FusionMethod.SIDE_BY_SIDE else 3)


def test_hits_can_be_kept_to_a_modality(make_collection: Callable[..., Collection]) -> None:
    mixed = make_collection("starter")
    mixed.put("photo", PHOTOS / "chelsea.png")
    mixed.put("note", "a cat sleeps on the sofa")
    mixed.put("log", "the rocket was launched")
    picture, sentence = PHOTOS / "chelsea.png", "a spacecraft"
    assert [hit.id for hit in mixed.search(picture, filter='modality() == "text"')] == ["note", "log"]
    assert [hit.id for hit in mixed.search(sentence, filter='modality() == "image"')] == ["photo"]
    assert [hit.id for hit in mixed.search(sentence, k=1, filter='modality() == "text"')] == ["log"]


def test_a_batch_and_a_stream_answer_as_one_by_one(photos: Collection) -> None:
    expressions = [*EXPRESSIONS, Item("nix")]
    one_by_one = [shown(photos.search(each)) for each in EXPRESSIONS] + [NotFoundError("item", "nix")]
    assert [shown(hits) for hits in photos.search_many(Search(expressions))] == one_by_one
    streamed = photos.stream_search(Search([each]) for each in expressions)
    assert [shown(hits) for (hits,) in streamed] == one_by_one


def test_a_stream_goes_on_after_a_search_that_is_refused(photos: Collection, server: Server) -> None:
    answers = photos.stream_search([Search(["a kitten"], model="nix")])
    with pytest.raises(NotFoundError, match="nix"):
        next(answers)
    assert photos.search("a kitten", k=1)[0].id == "chelsea"


def test_scores_are_cosines(make_collection: Callable[..., Collection]) -> None:
    collection = make_collection("given")
    rng = np.random.default_rng(1)
    stored = rng.normal(size=(40, 4)).astype(np.float32)
    collection.put_many([PutItem(str(n), features={"given": v}) for n, v in enumerate(stored)])
    query = rng.normal(size=4)
    expected = stored @ query / np.linalg.norm(stored, axis=1) / np.linalg.norm(query)
    hits = collection.search(query, k=40)
    assert [hit.id for hit in hits] == [str(n) for n in np.argsort(-expected)]
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True), abs=1e-6)


def test_fewer_items_than_k_and_none_at_all(make_collection: Callable[..., Collection]) -> None:
    collection = make_collection("given")
    assert collection.search([1, 2, 3, 4]) == []
    collection.put("a", features={"given": [1, 2, 3, 4]})
    assert [hit.id for hit in collection.search([1, 2, 3, 4], k=10_000)] == ["a"]


def test_concurrent_searches_and_puts_get_their_own_answers(
    make_collection: Callable[..., Collection],
) -> None:
    collection = make_collection("given")
    vectors = {f"{n}": np.random.default_rng(n).normal(size=4) for n in range(200)}
    collection.put_many([PutItem(name, features={"given": v}) for name, v in vectors.items()])
    wrong: list[object] = []

    def search(first: int) -> None:
        for n in range(first, 200, 8):
            best = collection.search(vectors[str(n)], k=1)[0]
            if best.id != str(n) or best.score < 0.9999:
                wrong.append((n, best))
            collection.put(f"new-{n}", features={"given": -vectors[str(n)]})

    threads = [threading.Thread(target=search, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert collection.info().items == 400


def test_a_search_of_an_older_client_is_answered_as_before(photos: Collection, client: Client) -> None:
    """One that sends an expression for each vector, and does not know of columns."""
    features = [photos.get(name, with_features=True).features["tiny"] for name in ("chelsea", "coffee")]
    expressions = [{"terms": [{"vector": vector_message(each)}]} for each in features]
    bad = {"terms": [{"vector": vector_message(features[0][:3])}]}
    request = search_pb2.SearchRequest(
        collection="photos", expressions=[*expressions, bad], model="tiny", k=3
    )
    connection = client._connection
    old = connection.call(connection.search.Search, request)
    assert not old.HasField("columns")
    request = search_pb2.SearchRequest(
        collection="photos", vectors=vectors_message(features), expressions=[bad], model="tiny", k=3
    )
    request.columns = True
    new = connection.call(connection.search.Search, request)
    assert not new.results
    first, second, refused = [each.hits for each in old.results]
    expected = [(hit.item.id, hit.score, hit.item.metadata_json) for hit in (*first.hits, *second.hits)]
    columns = new.columns
    assert list(zip(columns.ids, columns.scores, columns.metadata_json, strict=True)) == expected
    assert not refused.hits
    assert list(columns.counts) == [0, 3, 3]
    assert columns.errors[0] == old.results[2].error
