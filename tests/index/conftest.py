"""What tests of an index make and watch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from embeddb.index import IndexPolicy, SpaceIndex
from embeddb.index.approximate import Approximate
from embeddb.query import Encoding, Metric
from tests.index.clusters import DIMENSION


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., SpaceIndex]:
    """Makes an empty index of a factory string, which is closed at the end."""

    def made(
        factory: str = "IVF32,SQ8",
        metric: Metric = Metric.COSINE,
        recall: float = 0.95,
        encoding: Encoding = Encoding.FLOAT32,
    ) -> SpaceIndex:
        index = SpaceIndex(DIMENSION, metric, IndexPolicy(factory, recall), encoding=encoding)
        request.addfinalizer(index.close)
        return index

    return made


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The factory strings of the indexes that are built from here on."""
    builds: list[str] = []
    train = Approximate.train.__func__  # type: ignore[attr-defined]

    def noted(cls: type[Approximate], factory: str, moment: object) -> Approximate:
        builds.append(factory)
        return train(cls, factory, moment)  # type: ignore[no-any-return]

    monkeypatch.setattr(Approximate, "train", classmethod(noted))
    return builds
