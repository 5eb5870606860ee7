"""Evaluating a space by the Market-1501 protocol, in process and over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.options import KReciprocal
from embeddb.query import CollectionSettings, Metric, PutItem
from embeddb.questions import Evaluate, Metrics
from embeddb_client import Client, Collection

# Angles in degrees: so many between two shots, so near are they.
SHOTS = {
    # A query in camera 1. Its own camera's other shot, at 1 degree, is passed over; then come
    "ann-query": (0, "ann", 1, "query"),
    "ann-1": (1, "ann", 1, "gallery"),
    # bob at 5, ann at 10, bob at 20, ann at 40 degrees: matches at places 2 and 4.
    "bob-1": (5, "bob", 1, "gallery"),
    "ann-2": (10, "ann", 2, "gallery"),
    "bob-2": (20, "bob", 2, "gallery"),
    "ann-3": (40, "ann", 3, "gallery"),
    # A query of bob in camera 1, whose bob-1 is passed over: bob-2 at 2, then 12, 18, 21 degrees.
    "bob-query": (22, "bob", 1, "query"),
    # Nobody else of that name: it does not count.
    "eve-query": (90, "eve", 1, "query"),
}
# The gallery as ann (camera 1) sees it: bob-1, ann-2, bob-2, ann-3; as bob does: bob-2, ann-2, ann-3, ann-1.
ANN, BOB = (1 / 2 + 2 / 4) / 2, 1.0


@pytest.fixture(scope="module")
def market(client: Collection, database: Database) -> Collection:
    database.register_model("angles", {"loader": "vectors", "dimension": 2})
    market = client.create_collection("market", ["angles"])
    market.put_many(
        PutItem(
            name,
            metadata={"person": person, "camera": camera, "split": split},
            features={"angles": [np.cos(np.radians(angle)), np.sin(np.radians(angle))]},
        )
        for name, (angle, person, camera, split) in SHOTS.items()
    )
    market.put("unlabelled", features={"angles": [1, 0]})
    return market


@pytest.fixture(params=["in process", "over gRPC"])
def asked(request: pytest.FixtureRequest, market: Collection, database: Database) -> CollectionCalls:
    return database.collection("market") if request.param == "in process" else market


SPLIT = {"queries": 'split == "query"', "gallery": 'split == "gallery"', "ranks": (1, 2)}


def test_a_case_worked_out_by_hand(asked: CollectionCalls) -> None:
    found = asked.ask(Evaluate("person", camera="camera", **SPLIT))
    assert found == Metrics(
        queries=2,
        unmatched=1,
        gallery=5,
        mean_average_precision=pytest.approx((ANN + BOB) / 2),
        cmc={1: 0.5, 2: 1.0},
        recall={1: 0.5, 2: pytest.approx((1 / 2 + 1) / 2)},
    )


def test_without_cameras_only_the_query_itself_is_passed_over(asked: CollectionCalls) -> None:
    found = asked.ask(Evaluate("person", **SPLIT))
    # Her own camera counts now: for ann, they are ann, bob, ann, bob, ann; for bob, bob, ann, bob, ann, ann.
    ann, bob = (1 / 1 + 2 / 3 + 3 / 5) / 3, (1 / 1 + 2 / 3) / 2
    assert found.mean_average_precision == pytest.approx((ann + bob) / 2)
    everybody = asked.ask(Evaluate("person"))
    assert (everybody.queries, everybody.unmatched, everybody.gallery) == (7, 1, 8)


def test_several_shots_of_a_camera_are_one_query(asked: CollectionCalls) -> None:
    """Ann in camera 1 is the mean of 0 and 1 degrees; with it, both are passed over."""
    question = Evaluate(
        "person", camera="camera", queries='person == "ann" and camera == 1', multi_shot=True, ranks=(1,)
    )
    found = asked.ask(question)
    # bob 5, ann 10, bob 20, bob 22, ann 40, eve 90
    assert (found.queries, found.mean_average_precision) == (1, pytest.approx((1 / 2 + 2 / 5) / 2))
    assert asked.ask(Evaluate("person", "camera", question.queries)).queries == 2


def test_re_ranking_is_heeded(asked: CollectionCalls) -> None:
    plain = asked.ask(Evaluate("person"))
    assert asked.ask(Evaluate("person", rerank=KReciprocal(weight=1.0))) == plain
    other = asked.ask(Evaluate("person", rerank=KReciprocal(2, 2, 0.0)))
    assert other.mean_average_precision != plain.mean_average_precision
    assert asked.ask(Evaluate("person", rerank=KReciprocal(2, 2, 0.0), candidates=1)) == plain


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        (lambda: Evaluate(""), InvalidArgumentError, "^field: ''"),
        (lambda: Evaluate("person", camera=""), InvalidArgumentError, "^camera: ''"),
        (lambda: Evaluate("person", ranks=(0,)), InvalidArgumentError, "^ranks"),
        (lambda: Evaluate("person", ranks=()), InvalidArgumentError, "^ranks"),
        (lambda: Evaluate("person", candidates=0), InvalidArgumentError, "^candidates: 0"),
        (lambda: Evaluate("nix"), FailedPreconditionError, "0 queries and 0 items"),
        (
            lambda: Evaluate("person", queries='person == "eve"'),
            FailedPreconditionError,
            "of 1 queries none has a match among the 8 items",
        ),
        (lambda: Evaluate("person", queries="camera > 9"), FailedPreconditionError, "0 queries and 8 items"),
        (lambda: Evaluate("person", queries="camera >"), InvalidArgumentError, "^filter"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    asked: CollectionCalls, question: Callable[[], Evaluate], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked.ask(question())


# Of one direction with the query and longer; near it; and far away, but of great inner products with it.
OF_ALL_LENGTHS = {
    "ann-1": ((1, 0), 1),
    "ann-2": ((3, 0), 1),
    "ann-3": ((2.1, 0), 2),
    "bob-1": ((1, 0.5), 2),
    "bob-2": ((20, 30), 2),
    "bob-3": ((30, 40), 2),
}


@pytest.fixture(scope="module", params=[each for each in Metric if each is not Metric.COSINE])
def by_length(request: pytest.FixtureRequest, market: Collection, client: Client) -> Collection:
    """A collection that compares vectors with their lengths."""
    settings = CollectionSettings(metric=request.param)
    made = client.create_collection(f"by-{request.param}", ["angles"], settings)
    for name, (vector, camera) in OF_ALL_LENGTHS.items():
        metadata = {"person": name[:3], "shot": name, "camera": camera}
        made.put(name, metadata=metadata, features={"angles": vector})
    return made


def test_the_gallery_is_ranked_by_the_metric_of_the_collection(by_length: Collection) -> None:
    one = Evaluate("person", "camera", queries='shot == "ann-1"')
    several = Evaluate("person", "camera", queries="camera == 1", multi_shot=True)
    found = [by_length.ask(question).mean_average_precision for question in (one, several)]
    # By the cosine, ann-3 would be first for both. The mean of ann's two is at (2, 0), of no unit length.
    l2 = by_length.info().settings.metric is Metric.L2
    assert found == pytest.approx([1 / 2, 1 / 1] if l2 else [1 / 3, 1 / 3])


@pytest.mark.parametrize("option", [{"center": True}, {"rerank": KReciprocal()}])
def test_what_needs_the_cosine_is_refused(by_length: Collection, option: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{next(iter(option))}: .+ needs the cosine"):
        by_length.ask(Evaluate("person", **option))
