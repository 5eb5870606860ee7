"""Codes of the centres of lists, beside centres that are all read."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from embeddb.index.approximate import Approximate
from embeddb.index.centres import search_of_centres
from embeddb.index.vectors import Vectors
from embeddb.query import Metric

DIMENSION, LISTS = 32, 128
CODED, PLAIN = f"IVF{LISTS}(PQ8x4fs,Refine(Flat)),PQ16x4fs", f"IVF{LISTS},PQ16x4fs"
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def vectors() -> Floats:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(20_000, 8)) @ rng.normal(size=(8, DIMENSION))).astype(np.float32)


def trained(vectors: Floats, metric: Metric) -> tuple[Approximate, Any]:
    space = Vectors(metric, DIMENSION, np.float32, len(vectors))
    space.append(np.arange(len(vectors)), vectors)
    approximate = Approximate.train(CODED, space.moment())
    return approximate, faiss.downcast_index(faiss.extract_index_ivf(approximate.index).quantizer)


@pytest.mark.parametrize("metric", [Metric.INNER_PRODUCT, Metric.L2])
def test_the_nearest_lists_are_those_of_the_centres_themselves(vectors: Floats, metric: Metric) -> None:
    _, coded = trained(vectors, metric)
    for lists, share in ((1, 0.97), (8, 0.97), (40, 0.99), (LISTS, 1.0)):
        exact = coded.refine_index.search(vectors[:200], lists)
        found = coded.search(vectors[:200], lists, params=search_of_centres(lists))
        pairs = zip(exact[1], found[1], strict=True)
        assert np.mean([len(set(a) & set(b)) / lists for a, b in pairs]) >= share
        # What is found is scored by the centres themselves.
        same = found[1][:, 0] == exact[1][:, 0]
        assert np.allclose(found[0][same, 0], exact[0][same, 0], rtol=1e-4)
    # As an addition does it, without parameters.
    assert (coded.search(vectors[:200], 1)[1] == coded.refine_index.search(vectors[:200], 1)[1]).mean() > 0.97


@pytest.mark.parametrize("metric", list(Metric))
def test_vectors_without_a_direction_are_in_lists_too(vectors: Floats, metric: Metric) -> None:
    approximate, _ = trained(vectors, metric)
    few = vectors[:100].copy()
    few[[3, 50]] = 0.0
    few[70] = 1e-40
    approximate.add(few)
    lists = faiss.extract_index_ivf(approximate.index).invlists
    assert sum(lists.list_size(number) for number in range(LISTS)) == len(few)
    assert (few[3] == 0.0).all()


@pytest.mark.parametrize("metric", [Metric.COSINE, Metric.L2])
def test_centres_that_are_found_by_codes_are_as_near_as_those_of_faiss(
    vectors: Floats, metric: Metric
) -> None:
    if metric is Metric.COSINE:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    _, coded = trained(vectors, metric)
    kmeans = faiss.Kmeans(DIMENSION, LISTS, niter=10, spherical=metric is Metric.COSINE)
    kmeans.train(vectors)
    plain = faiss.IndexFlat(DIMENSION, coded.metric_type)
    plain.add(np.asarray(kmeans.centroids))
    own, theirs = (float(each.search(vectors, 1)[0].mean()) for each in (coded.refine_index, plain))
    assert own == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize("metric", list(Metric))
def test_vectors_that_are_all_the_same_have_an_index_too(metric: Metric) -> None:
    same = np.zeros((LISTS * 64, DIMENSION), np.float32)
    same[10:, 3] = 1.0
    approximate, coded = trained(same, metric)
    approximate.add(same[:100])
    assert np.isfinite(coded.refine_index.reconstruct_n(0, LISTS)).all()
