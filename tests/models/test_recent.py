"""Texts that queries had embedded lately are not embedded again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.batching import Priority
from embeddb.models import EmbedRequest, Registry, TextCacheFigures
from embeddb.models.recent import MAX_CHARACTERS, RecentTexts
from embeddb.query import Embedding, Image, Modality, Prediction, Text
from tests.models.conftest import MakeRegistry
from tests.models.networks import image


def embed(registry: Registry, *texts: str, priority: Priority = Priority.QUERY) -> list[np.ndarray]:
    outcomes = registry.embed([EmbedRequest(Text(text), ["means"]) for text in texts], priority)
    return [outcome["means"].features for outcome in outcomes if isinstance(outcome, dict)]


def test_a_text_is_run_once_and_gives_the_same_again(make_registry: MakeRegistry) -> None:
    registry, network = make_registry()
    first = embed(registry, "a", "bc")
    ran = list(network.runs)
    second = embed(registry, "bc", "a", "bc")
    assert network.runs == ran
    assert [each.tolist() for each in second] == [first[1].tolist(), first[0].tolist(), first[1].tolist()]
    assert registry.text_caches() == {"means": TextCacheFigures(texts=2, hits=3, misses=2)}
    second[0][:] = 7
    first[1][:] = 8
    assert embed(registry, "bc")[0].tolist() == [2, 2, 2, 1], "what callers do to theirs does not matter"


def test_the_labels_of_a_classification_are_kept_though_they_are_more_than_a_batch(
    make_registry: MakeRegistry,
) -> None:
    registry, network = make_registry(max_batch=4)
    labels = ["x" * n for n in range(1, 30)]
    first = embed(registry, *labels)
    ran = len(network.runs)
    assert np.array_equal(embed(registry, *labels), first)
    assert len(network.runs) == ran


def test_loads_images_and_what_fails_are_not_kept(make_registry: MakeRegistry) -> None:
    registry, network = make_registry()
    embed(registry, "load", priority=Priority.BULK)
    embed(registry, "breaks", "breaks")
    picture = EmbedRequest(Image(image(255)), ["means"])
    registry.embed([picture], Priority.QUERY)
    registry.embed([picture], Priority.QUERY)
    assert sum(size for modality, size in network.runs if modality is Modality.IMAGE) == 2
    assert registry.text_caches() == {"means": TextCacheFigures(texts=0, hits=0, misses=2)}


def test_long_texts_are_not_kept(make_registry: MakeRegistry) -> None:
    registry, _ = make_registry()
    embed(registry, "x" * MAX_CHARACTERS, "x" * (MAX_CHARACTERS + 1))
    assert registry.text_caches()["means"].texts == 1


@pytest.mark.parametrize("size", [0, 2])
def test_no_more_are_kept_than_the_operator_says(make_registry: MakeRegistry, size: int) -> None:
    registry, _ = make_registry(text_cache=size)
    embed(registry, "a", "b", "c")
    assert registry.text_caches()["means"].texts == size


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=60), st.integers(0, 4))
def test_the_least_recently_used_goes_first(calls: list[tuple[bool, int]], size: int) -> None:
    recent, kept = RecentTexts(size), list[int]()
    for put, number in calls:
        if put:
            features = np.full(2, number, np.float32)
            recent.put(str(number), Embedding(features, [Prediction("p", 1.0)]))
        else:
            found = recent.get(str(number))
            assert (found is not None) == (number in kept)
            if found is not None:
                assert found.features.tolist() == [number, number]
        if put or number in kept:
            kept = [*(each for each in kept if each != number), number][-size:] if size else []
    assert recent.figures().texts == len(kept)
