"""A registry with the watched network of `networks` in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from embeddb.models import ModelSettings, Registry
from embeddb.models import registry as registry_module
from tests.models.networks import Means

MakeRegistry = Callable[..., tuple[Registry, Means]]


@pytest.fixture(autouse=True)
def means_loader(monkeypatch: pytest.MonkeyPatch) -> list[Means]:
    """The loader "means" is there; gives the networks that it has made."""
    made: list[Means] = []

    def load(*arguments: object) -> Means:
        made.append(Means.load(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(registry_module, "LOADERS", {**registry_module.LOADERS, "means": load})
    return made


@pytest.fixture
def make_registry(means_loader: list[Means]) -> Iterator[MakeRegistry]:
    """Makes a registry of given settings with the model "means", and gives its network too."""
    made: list[Registry] = []

    def make(**settings: int) -> tuple[Registry, Means]:
        registry = Registry(ModelSettings(**settings))  # type: ignore[arg-type]
        made.append(registry)
        registry.load("means", {"loader": "means"})
        return registry, means_loader[-1]

    yield make
    for network in means_loader:
        network.open.set()
    for registry in made:
        registry.close()
