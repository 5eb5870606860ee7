"""A registry with the watched network of `networks` in it, and a database that trusts a model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from embeddb.database import Database
from embeddb.models import ModelSettings, Registry
from embeddb.models import registry as registry_module
from embeddb.query import ModelInfo, Precision, RunOptions
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
        registry.register("means", {"loader": "means"}, RunOptions(precision=Precision.FLOAT32))
        means_loader[-1].forget()
        return registry, means_loader[-1]

    yield make
    for network in means_loader:
        network.open.set()
    for registry in made:
        registry.close()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests lay their model files."""
    return tmp_path_factory.mktemp("models")


class InFloat32(Database):
    """Runs models as their libraries do, so that features can be compared closely."""

    def register_model(
        self, name: str, spec: Mapping[str, Any], options: RunOptions | None = None
    ) -> ModelInfo:
        return super().register_model(name, spec, options or RunOptions(precision=Precision.FLOAT32))


@pytest.fixture(scope="module")
def trusting(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with that model folder, where programs and the tests' own module may run."""
    settings = ModelSettings(
        folder=model_folder, allow_programs=True, python_modules=("tests.models.own_network",)
    )
    with InFloat32(tmp_path_factory.mktemp("trusting"), models=settings) as database:
        yield database
