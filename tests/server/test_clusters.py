"""Clusters of a space, in process and over gRPC, and their labels in the metadata."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from embeddb import annotation
from embeddb.answers import clustering
from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.query import CollectionSettings, Metric, PutItem, View
from embeddb.questions import NOISE, Clustering, Clusters, Hdbscan, KMeans, Progress
from embeddb.search.density import dense_clusters
from embeddb.storage import CollectionStore
from embeddb_client import AsyncClient, Client, Collection
from embeddb_server import Server
from tests.endless import Endless

RNG = np.random.default_rng(5)
# Three tight bundles of directions, of vectors of very different lengths, and two far from all of them.
SIZES = {"a": 30, "b": 20, "c": 10}
CENTRES = {"a": (1, 0, 0, 0), "b": (0, 1, 0, 0), "c": (0, 0, 1, 0)}
VECTORS = {
    f"{name}-{n:02}": RNG.uniform(0.1, 10) * (np.array(CENTRES[name]) + 0.05 * RNG.normal(size=4))
    for name, size in SIZES.items()
    for n in range(size)
} | {"odd-0": np.array([0, 0, 0, 1.0]), "odd-1": np.array([-1, -1, -1, -1.0])}


@pytest.fixture
def bundles(make_collection: Callable[..., Collection]) -> Collection:
    collection = make_collection("given")
    collection.put_many(
        PutItem(name, metadata={"bundle": name[:-3]}, features={"given": vector})
        for name, vector in VECTORS.items()
    )
    return collection


@pytest.fixture(params=["in process", "over gRPC"])
def asked(request: pytest.FixtureRequest, bundles: Collection, database: Database) -> CollectionCalls:
    return database.collection(bundles.name) if request.param == "in process" else bundles


def members(found: Clustering) -> dict[int, set[str]]:
    return {
        label: {name for name, each in found.labels.items() if each == label}
        for label in set(found.labels.values())
    }


def test_density_finds_the_bundles_and_leaves_out_what_is_odd(asked: CollectionCalls) -> None:
    found = asked.ask(Clusters(Hdbscan(min_size=4), central=2))
    assert [(each.label, each.size) for each in found.clusters] == [(0, 30), (1, 20), (2, 10)]
    assert found.noise == 2
    assert found.labels["odd-0"] == found.labels["odd-1"] == NOISE
    for label, name in enumerate("abc"):
        assert members(found)[label] == {each for each in VECTORS if each.startswith(name)}
        units = {each: VECTORS[each] / np.linalg.norm(VECTORS[each]) for each in members(found)[label]}
        mean = np.mean(list(units.values()), axis=0)
        nearest = sorted(units, key=lambda each: -units[each] @ mean)
        assert list(found.clusters[label].central) == nearest[:2]
    assert found.inertia is None


@pytest.mark.parametrize(("by", "filter"), [(Hdbscan(5), 'bundle == "od"'), (Hdbscan(2, 60), "")])
def test_all_may_be_noise(asked: CollectionCalls, by: Hdbscan, filter: str) -> None:  # noqa: A002
    found = asked.ask(Clusters(by, filter=filter))
    assert set(found.labels.values()) == {NOISE}
    assert (list(found.clusters), found.noise) == ([], len(found.labels))


def test_k_means_is_spherical_under_the_cosine(asked: CollectionCalls) -> None:
    found = asked.ask(Clusters(KMeans(3), filter='bundle in ["a", "b", "c"]'))
    assert [each.size for each in found.clusters] == [30, 20, 10]
    units = {name: vector / np.linalg.norm(vector) for name, vector in VECTORS.items()}
    squares = 0.0
    for names in members(found).values():
        centre = np.mean([units[name] for name in names], axis=0)
        centre /= np.linalg.norm(centre)
        squares += sum(((units[name] - centre) ** 2).sum() for name in names)
    assert found.inertia == pytest.approx(squares, rel=1e-4)
    again = asked.ask(Clusters(KMeans(3), filter='bundle in ["a", "b", "c"]'))
    assert again.labels == found.labels


def test_k_means_goes_by_distance_under_l2(client: Client) -> None:
    settings = CollectionSettings(metric=Metric.L2)
    apart = client.create_collection("by-distance", ["given"], settings)
    lengths = [1, 1.1, 1.2, 8, 8.1, 8.2]
    apart.put_many(PutItem(f"{n}", features={"given": [x, 0, 0, 0]}) for n, x in enumerate(lengths))
    found = apart.ask(Clusters(KMeans(2)))
    assert {frozenset(each) for each in members(found).values()} == {
        frozenset({"0", "1", "2"}),
        frozenset({"3", "4", "5"}),
    }
    assert found.inertia == pytest.approx(4 * 0.1**2, rel=1e-4)
    with pytest.raises(InvalidArgumentError, match="center: True given, needs the cosine"):
        apart.ask(Clusters(KMeans(2), center=True))


def test_centring_takes_the_modality_out(make_collection: Callable[..., Collection]) -> None:
    texts = make_collection("starter")
    # Two topics as texts, and their features again as items of no modality, all moved one way.
    topics = ["a cat", "a small cat", "a kitten", "a car", "a fast car", "a truck"]
    texts.put_many(PutItem(topic, topic) for topic in topics)
    stored = {item.id: item.features["starter"] for item in texts.items(view=View(features=True))}
    gap = 5 * np.linalg.norm(stored["a cat"]) * np.eye(384)[7]
    texts.put_many(PutItem(f"moved {name}", features={"starter": v + gap}) for name, v in stored.items())

    def best(center: bool) -> Clustering:
        asked = [texts.ask(Clusters(KMeans(2, seed=seed), center=center)) for seed in range(5)]
        return min(asked, key=lambda found: found.inertia or 0.0)

    plain = members(best(center=False))
    assert {frozenset(each) for each in plain.values()} == {
        frozenset(topics),
        frozenset(f"moved {topic}" for topic in topics),
    }
    centred = best(center=True).labels
    assert all(centred[topic] == centred[f"moved {topic}"] for topic in topics)


def test_blocks_make_no_difference(
    bundles: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bundles.ask(Clusters(KMeans(4)))
    monkeypatch.setattr(clustering, "BLOCK", 7)
    monkeypatch.setattr("embeddb.search.density.BLOCK", 7)
    collection = database.collection(bundles.name)
    assert collection.ask(Clusters(KMeans(4))).labels == whole.labels
    assert collection.ask(Clusters(Hdbscan(4))).noise == 2


def test_labels_are_stored_without_running_a_model(
    client: Client,
    database: Database,
    make_collection: Callable[..., Collection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collection = make_collection("starter", "tiny")
    sentences = ["a cat", "a kitten", "a truck", "a fast car"]
    collection.put_many(PutItem(each, each, {"words": len(each.split())}) for each in sentences)
    collection.put("photo", np.zeros((8, 8, 3), np.uint8))
    before = collection.get("photo", with_payload=True, with_features=True, with_predictions=True)

    def refuse(*_: object) -> None:
        raise AssertionError("a model ran")

    monkeypatch.setattr(database._registry, "embed", refuse)
    found = collection.ask(Clusters(KMeans(2), field="topic"))
    assert found.written == 5
    for sentence in sentences:
        assert collection.get(sentence).metadata == {
            "words": len(sentence.split()),
            "topic": found.labels[sentence],
        }
    after = collection.get("photo", with_payload=True, with_features=True, with_predictions=True)
    assert after.payload == before.payload
    assert after.predictions == before.predictions
    assert all(np.array_equal(after.features[name], vector) for name, vector in before.features.items())
    label = found.labels["a cat"]
    hits = collection.search([1.0] * 384, filter=f"topic == {label}")
    assert {hit.id for hit in hits} == {name for name, each in found.labels.items() if each == label}
    # Nothing is written where nothing has changed.
    sequence = database.collection(collection.name)._store.sequence()
    assert collection.ask(Clusters(KMeans(2), field="topic")).written == 5
    assert database.collection(collection.name)._store.sequence() == sequence


def test_what_is_written_meanwhile_is_kept(
    bundles: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading and the write, one gets other metadata, one other content, and one is deleted."""
    collection = database.collection(bundles.name)
    write = CollectionStore.write
    met = []

    def interfere(store: CollectionStore, operations: list[object]) -> list[object]:
        if not met:
            met.append(store)
            bundles.put("a-00", metadata={"note": "new"}, features={"given": VECTORS["a-00"]})
            bundles.put("a-01", features={"given": [0, 0, 0, 9]})
            bundles.delete("a-02")
        return write(store, operations)

    monkeypatch.setattr(CollectionStore, "write", interfere)
    found = collection.ask(Clusters(Hdbscan(4), field="bundle_number"))
    assert met
    assert found.written == len(VECTORS) - 2
    assert bundles.get("a-00").metadata == {"note": "new", "bundle_number": 0}
    assert bundles.get("a-01").metadata == {}
    assert bundles.info().items == len(VECTORS) - 1


def test_a_batch_of_labels_is_stored_whole_or_not_at_all(
    bundles: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation, "BATCH_ITEMS", 40)
    write = CollectionStore.write
    batches = []

    def fill_up(store: CollectionStore, operations: list[object]) -> list[object]:
        batches.append(operations)
        if len(batches) == 2:
            raise FailedPreconditionError("the disk is full")
        return write(store, operations)

    monkeypatch.setattr(CollectionStore, "write", fill_up)
    with pytest.raises(FailedPreconditionError, match="the disk is full"):
        database.collection(bundles.name).ask(Clusters(Hdbscan(4), field="label"))
    assert sum("label" in item.metadata for item in bundles.items()) == 40


def test_progress_is_told(asked: CollectionCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr("embeddb_server.services.following.PROGRESS_SECONDS", 0.001)
    slow = clustering.Centres

    def slowly(*arguments: object) -> object:
        time.sleep(0.1)
        centres = slow(*arguments)
        time.sleep(0.1)
        return centres

    monkeypatch.setattr(clustering, "Centres", slowly)
    asked.ask(Clusters(KMeans(3, iterations=7), field="label"), on_progress=told.append)
    assert "moving centres" in {each.stage for each in told}
    assert all(0 <= each.done <= each.total for each in told)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    endless = Endless()
    monkeypatch.setattr(clustering, "Centres", endless)
    return endless


def test_who_gives_up_ends_the_work(bundles: Collection, endless: Endless) -> None:
    class GaveUpError(Exception):
        pass

    def give_up(progress: Progress) -> None:
        raise GaveUpError

    with pytest.raises(GaveUpError):
        bundles.ask(Clusters(KMeans(2)), on_progress=give_up)
    assert endless.stopped.wait(10)


def test_a_cancelled_task_ends_the_work(bundles: Collection, server: Server, endless: Endless) -> None:
    async def ask() -> list[Progress]:
        told: list[Progress] = []
        async with AsyncClient(server.address, collection=bundles.name) as client:
            asking = asyncio.create_task(client.ask(Clusters(KMeans(2)), on_progress=told.append))
            while not told:
                await asyncio.sleep(0.02)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        return told

    assert asyncio.run(ask())[0].stage == "going round"
    assert endless.stopped.wait(10)


def test_the_async_client_asks_the_same(bundles: Collection, server: Server) -> None:
    async def ask() -> Clustering:
        async with AsyncClient(server.address, collection=bundles.name) as client:
            return await client.ask(Clusters(Hdbscan(4)))

    assert asyncio.run(ask()) == bundles.ask(Clusters(Hdbscan(4)))


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        (lambda: Clusters(KMeans(1)), InvalidArgumentError, r"^k_means\.k: 1 given, must be from 2"),
        (lambda: Clusters(KMeans(2, iterations=0)), InvalidArgumentError, r"^k_means\.iterations: 0"),
        (lambda: Clusters(Hdbscan(1)), InvalidArgumentError, r"^hdbscan\.min_size: 1"),
        (lambda: Clusters(Hdbscan(5, 0)), InvalidArgumentError, r"^hdbscan\.neighbours: 0"),
        (lambda: Clusters("kmeans"), InvalidArgumentError, "^by: 'kmeans'"),  # type: ignore[arg-type]
        (lambda: Clusters(KMeans(2), central=-1), InvalidArgumentError, "^central: -1"),
        (lambda: Clusters(KMeans(900)), FailedPreconditionError, "900 clusters of 62 items"),
        (lambda: Clusters(KMeans(2), filter="bundle >"), InvalidArgumentError, "filter: 'bundle >'"),
        (lambda: Clusters(Hdbscan(), filter='bundle == "x"'), FailedPreconditionError, "there are 0"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    asked: CollectionCalls, question: Callable[[], Clusters], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked.ask(question())


def test_density_has_a_limit(asked: CollectionCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "MAX_DENSE", 50)
    with pytest.raises(FailedPreconditionError, match="HDBSCAN takes 1 to 50 items, and there are 62"):
        asked.ask(Clusters(Hdbscan()))


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.none() | st.integers(1, 6))
def test_density_is_scikit_learns_own(seed: int, min_size: int, neighbours: int | None) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3, 5))[rng.integers(3, size=40)] * 3 + rng.normal(size=(40, 5))
    found = dense_clusters(points, Hdbscan(min_size, neighbours), lambda *_: None)
    own = HDBSCAN(min_cluster_size=min_size, min_samples=neighbours, algorithm="brute", copy=True).fit(points)
    # Of two clusters that are as near to a point, rounding chooses.
    assert (found != own.labels_).sum() <= 1 or adjusted_rand_score(own.labels_, found) == pytest.approx(1.0)


def test_fewer_points_than_a_cluster_has_are_noise() -> None:
    assert dense_clusters(np.eye(3), Hdbscan(4), lambda *_: None).tolist() == [NOISE] * 3
