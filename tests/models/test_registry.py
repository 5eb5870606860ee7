"""Contents through the registry: who fails alone, who waits, and what is not run at all."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embeddb.batching import Priority
from embeddb.deadline import Deadline, within
from embeddb.errors import (
    CancelledError,
    DeadlineExceededError,
    EmbeddbError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from embeddb.models import EmbedRequest
from embeddb.query import Embedding, Image, Modality, Text
from tests.models.conftest import MakeRegistry
from tests.models.networks import image


def texts(*given: str) -> list[EmbedRequest]:
    return [EmbedRequest(Text(text), ["means"]) for text in given]


def features(outcome: dict[str, Embedding] | EmbeddbError) -> list[float]:
    assert not isinstance(outcome, EmbeddbError), outcome
    return outcome["means"].features.tolist()


def test_what_fails_fails_alone(make_registry: MakeRegistry) -> None:
    registry, _ = make_registry()
    contents = [
        Text("ab"),
        Text("breaks"),
        Image(image(255)),
        Text("not finite"),
        Text("unpreparable"),
        Image(b"no image"),
        Text("abc"),
    ]
    outcomes = registry.embed([EmbedRequest(each, ["means"]) for each in contents], Priority.BULK)
    assert features(outcomes[0]) == [2, 2, 2, 1]
    assert features(outcomes[2]) == [1, 0, 0, 1]
    assert features(outcomes[6]) == [3, 3, 3, 1]
    failed = {place: type(each) for place, each in enumerate(outcomes) if isinstance(each, EmbeddbError)}
    assert failed == {1: InternalError, 3: InternalError, 4: InternalError, 5: InvalidArgumentError}
    assert "not finite" in str(outcomes[3])


def test_images_and_texts_have_queues_of_their_own(make_registry: MakeRegistry) -> None:
    registry, network = make_registry()
    contents = [Text("a"), Image(image(0)), Text("b"), Image(image(255))]
    outcomes = registry.embed([EmbedRequest(each, ["means"]) for each in contents], Priority.QUERY)
    assert [features(each)[0] for each in outcomes] == [1, 0, 1, 1]
    assert {modality for modality, _ in network.runs} == set(Modality)
    assert sum(size for _, size in network.runs) == 4


def test_a_load_larger_than_the_queue_waits_and_too_many_queries_are_refused(
    make_registry: MakeRegistry,
) -> None:
    registry, network = make_registry(max_batch=2, max_queue=3)
    network.open.clear()
    with ThreadPoolExecutor(12) as callers:
        load = callers.submit(registry.embed, texts(*["load"] * 40), Priority.BULK)
        assert network.started.acquire(timeout=20)
        queries = [callers.submit(registry.embed, texts("query"), Priority.QUERY) for _ in range(10)]
        refused = 0
        while refused < 7:
            refused = sum(query.done() for query in queries)
            time.sleep(0.01)
        network.open.set()
        outcomes = [query.result(timeout=20)[0] for query in queries]
        assert sum(isinstance(each, ResourceExhaustedError) for each in outcomes) == 7
        assert sum(isinstance(each, dict) for each in outcomes) == 3
        assert [features(each)[0] for each in load.result(timeout=20)] == [4] * 40


def test_more_than_a_batch_is_a_load_whoever_sends_it(make_registry: MakeRegistry) -> None:
    registry, _ = make_registry(max_batch=2, max_queue=3)
    outcomes = registry.embed(texts(*["a"] * 30), Priority.QUERY)
    assert [features(each)[0] for each in outcomes] == [1] * 30


def test_what_nobody_waits_for_is_not_run(make_registry: MakeRegistry) -> None:
    registry, network = make_registry(max_batch=1)
    network.open.clear()
    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(registry.embed, texts("kept"), Priority.QUERY)
        assert network.started.acquire(timeout=20)
        with within(Deadline(time.monotonic() + 0.1)), pytest.raises(DeadlineExceededError):
            registry.embed(texts("late", "too late"), Priority.QUERY)
        network.open.set()
        assert features(running.result(timeout=20)[0])[0] == 4
    with within(Deadline(gone=lambda: True)), pytest.raises(CancelledError):
        registry.embed(texts("gone"), Priority.QUERY)
    assert features(registry.embed(texts("next"), Priority.QUERY)[0])[0] == 4
    assert network.runs == [(Modality.TEXT, 1)] * 2


def test_concurrent_callers_each_get_their_own(make_registry: MakeRegistry) -> None:
    registry, network = make_registry()
    shades = [int(shade) for shade in np.random.default_rng(0).integers(0, 256, 64)]

    def embed(shade: int) -> float:
        return features(registry.embed([EmbedRequest(Image(image(shade)), ["means"])], Priority.QUERY)[0])[0]

    with ThreadPoolExecutor(16) as callers:
        found = list(callers.map(embed, shades))
    assert found == pytest.approx([shade / 255 for shade in shades])
    assert sum(size for _, size in network.runs) == 64
