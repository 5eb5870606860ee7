"""Maps of a space in two dimensions, in process and over gRPC."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.errors import CancelledError, FailedPreconditionError, InvalidArgumentError
from embeddb.query import PutItem
from embeddb.questions import Map, Pca, Progress, Umap
from embeddb.search.projection import pca, umap
from embeddb_client import Collection

RNG = np.random.default_rng(8)
CENTRES = np.eye(4) * 4
VECTORS = {
    f"{name}-{n:02}": CENTRES[number] + 0.1 * RNG.normal(size=4)
    for number, name in enumerate("abc")
    for n in range(25)
}


@pytest.fixture(scope="module")
def bundles(client: Collection) -> Collection:
    collection = client.create_collection("mapped", ["given"])
    collection.put_many(
        PutItem(name, metadata={"n": int(name[2:])}, features={"given": vector})
        for name, vector in VECTORS.items()
    )
    return collection


@pytest.fixture(params=["in process", "over gRPC"])
def asked(request: pytest.FixtureRequest, bundles: Collection, database: Database) -> CollectionCalls:
    return database.collection("mapped") if request.param == "in process" else bundles


def units(names: list[str]) -> np.ndarray:
    vectors = np.array([VECTORS[name] for name in names])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def neighbours_of_the_same_kind(ids: list[str], points: np.ndarray) -> float:
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.mean([ids[n][0] == ids[place][0] for n, place in enumerate(apart.argmin(axis=1))]))


def test_pca_is_scikit_learns(asked: CollectionCalls) -> None:
    found = asked.ask(Map())
    assert list(found.ids) == list(VECTORS)
    assert found.items == len(VECTORS)
    assert found.points.shape == (len(VECTORS), 2)
    assert found.points.dtype == np.float32
    own = PCA(2).fit(units(list(VECTORS)))
    expected = own.transform(units(list(VECTORS)))
    signs = np.sign((expected * found.points).sum(axis=0))
    np.testing.assert_allclose(found.points, expected * signs, atol=1e-5)
    assert found.explained == pytest.approx(own.explained_variance_ratio_.sum(), abs=1e-6)


def test_umap_keeps_what_is_alike_together(asked: CollectionCalls) -> None:
    found = asked.ask(Map(Umap(neighbours=8)))
    assert found.explained is None
    assert neighbours_of_the_same_kind(list(found.ids), found.points) == 1.0
    again = asked.ask(Map(Umap(neighbours=8)))
    np.testing.assert_array_equal(found.points, again.points)


def test_a_filter_and_a_sample_choose_who_is_shown(asked: CollectionCalls) -> None:
    few = asked.ask(Map(filter="n < 4"))
    assert list(few.ids) == [name for name in VECTORS if int(name[2:]) < 4]
    sampled = asked.ask(Map(sample=7))
    assert (len(sampled.ids), sampled.items) == (7, len(VECTORS))
    assert {name[0] for name in sampled.ids} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        (lambda: Map(sample=2), InvalidArgumentError, "^sample: 2 given"),
        (lambda: Map(sample=20_001), InvalidArgumentError, "must be from 3 to 20,000"),
        (lambda: Map(Umap(neighbours=1)), InvalidArgumentError, r"^umap\.neighbours: 1 given"),
        (lambda: Map(Umap(min_distance=2)), InvalidArgumentError, r"^umap\.min_distance: 2"),
        (lambda: Map(Umap(seed=-1)), InvalidArgumentError, r"^umap\.seed: -1"),
        (lambda: Map(by="pca"), InvalidArgumentError, "^by: 'pca'"),  # type: ignore[arg-type]
        (lambda: Map(filter="n == 99"), FailedPreconditionError, "a map needs items"),
        (
            lambda: Map(Umap(), filter="n < 5"),
            InvalidArgumentError,
            r"umap\.neighbours: 15 given, must be fewer than the items, and there are 15",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(
    asked: CollectionCalls, question: Callable[[], Map], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked.ask(question())


def test_without_umap_learn_the_error_says_what_to_install(
    asked: CollectionCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(FailedPreconditionError, match=r"pip install 'embeddb\[analysis\]'"):
        asked.ask(Map(Umap()))


def test_umap_tells_its_steps_and_ends_at_one_where_nobody_waits() -> None:
    points = units(list(VECTORS)).repeat(4, axis=0) + 0.01 * RNG.normal(size=(300, 4))
    told: list[Progress] = []
    umap(points, Umap(), lambda *step: told.append(Progress(*step)))
    assert told[0] == Progress("comparing", 0, 300)
    assert told[-1] == Progress("laying out", 1, 1)

    def give_up(stage: str, done: int, total: int) -> None:
        if stage == "laying out":
            raise CancelledError("enough")

    with pytest.raises(CancelledError, match="enough"):
        umap(points, Umap(), give_up)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_pca_loses_no_more_than_it_says(n: int, dimension: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(n, dimension))
    found, explained = pca(points)
    assert found.shape == (n, 2)
    apart = points - points.mean(axis=0)
    total = (apart**2).sum()
    kept = (found.astype(np.float64) ** 2).sum()
    assert kept == pytest.approx(explained * total, rel=1e-4, abs=1e-6)
    if dimension <= 2:
        assert explained == pytest.approx(1.0)


def test_copies_alone_are_one_place() -> None:
    found, explained = pca(np.ones((4, 3)))
    assert not found.any()
    assert explained == 1.0
    assert np.isfinite(umap(np.ones((30, 3)), Umap(neighbours=5), lambda *_: None)).all()


def test_pca_is_the_default(bundles: Collection) -> None:
    assert Map().by == Pca()
