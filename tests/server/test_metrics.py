"""Metrics end to end: scores by their definitions, larger is nearer, and what only the cosine allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import embeddb
from embeddb.errors import InvalidArgumentError
from embeddb.options import Arithmetic, Diversify
from embeddb.query import CollectionSettings, Item, Metric, PutItem, PutStatus, Vector
from embeddb_client import Client, Collection
from tests.index.reference import scores

STORED = np.random.default_rng(3).normal(scale=3, size=(50, 4)).astype(np.float32)


@pytest.fixture(scope="module", params=list(Metric))
def collection(request: pytest.FixtureRequest, client: Client) -> Collection:
    settings = CollectionSettings(metric=request.param)
    collection = client.create_collection(f"metric-{request.param}", ["given"], settings)
    assert collection.info().settings.metric is request.param
    collection.put_many([PutItem(f"{n:02}", features={"given": v}) for n, v in enumerate(STORED)])
    return collection


@pytest.mark.parametrize(
    ("expression", "query"),
    [
        (Vector([3, -2, 0.5, 9]), [3, -2, 0.5, 9]),
        (2 * Vector([3, -2, 0.5, 9]), [6, -4, 1, 18]),
    ],
)
def test_scores_follow_the_definition(expression: Vector, query: list[float], collection: Collection) -> None:
    expected = scores(collection.info().settings.metric, [query], STORED)[0]
    hits = collection.search(expression, k=50)
    assert [int(hit.id) for hit in hits] == np.argsort(-expected).tolist()
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True), rel=1e-5, abs=1e-5)


def test_items_are_summed_as_they_are_unless_by_cosine(collection: Collection) -> None:
    metric = collection.info().settings.metric
    query = STORED[3].astype(np.float64) - 0.5 * STORED[4]
    if metric is Metric.COSINE:
        lengths = np.linalg.norm(STORED.astype(np.float64), axis=1)
        query = STORED[3] / lengths[3] - 0.5 * STORED[4] / lengths[4]
    expected = scores(metric, [query], STORED)[0]
    hit = collection.search(Item("03") - 0.5 * Item("04"), k=1, include_operands=True)[0]
    assert (int(hit.id), hit.score) == (expected.argmax(), pytest.approx(expected.max(), rel=1e-5))


@pytest.mark.parametrize(
    ("field", "value"),
    [("explain", True), ("arithmetic", Arithmetic(center=True)), ("rerank", Diversify())],
    ids=["explain", "center", "rerank"],
)
def test_what_is_made_of_cosines_needs_the_cosine(field: str, value: object, client: Client) -> None:
    settings = CollectionSettings(metric=Metric.L2)
    collection = client.create_collection(f"refuses-{field}", ["given"], settings)
    with pytest.raises(InvalidArgumentError, match=f"{field}.*needs the cosine.*l2"):
        collection.search([1, 2, 3, 4], **{field: value})


def test_vectors_whose_scores_would_be_infinite_are_refused(client: Client) -> None:
    collection = client.create_collection("too-long", ["given"], CollectionSettings(metric=Metric.L2))
    results = collection.put_many([PutItem("a", features={"given": [1e16, 0, 0, 0]})])
    assert results[0].status is PutStatus.FAILED
    assert isinstance(results[0].error, InvalidArgumentError)
    assert collection.put("b", features={"given": [1e15, 0, 0, 0]}) is PutStatus.CREATED
    assert collection.search([0, 0, 0, 1], k=1)[0].score == pytest.approx(-1e15)
    with pytest.raises(InvalidArgumentError, match=r"queries.*must be within"):
        collection.search([0, 0, 0, 1e16])


def test_the_metric_is_kept(tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        plane = database.create_collection("plane", ["given"], CollectionSettings(metric=Metric.L2))
        plane.put("far", features={"given": [30, 40]})
    with embeddb.open(tmp_path) as database:
        assert database.collection("plane").search(Vector([0, 0.001]), k=1)[0].score == pytest.approx(
            -50, abs=0.01
        )


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"settings\.metric: 'cosmic' given, must be one of cosine, inner"
    ):
        CollectionSettings(metric="cosmic")  # type: ignore[arg-type]
