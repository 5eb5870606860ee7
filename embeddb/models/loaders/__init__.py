"""The loaders of networks, by the name that a spec gives under "loader"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from embeddb.models.spec import Spec
from embeddb.settings import ModelSettings

if TYPE_CHECKING:
    from embeddb.models.network import Network

__all__ = ["LOADERS"]

Loader = Callable[[Spec, ModelSettings], "Network"]

# Each is `load_NAME` in the module of its name, but for these.
MODULES = {"pt2": "program", "torchscript": "program"}
NAMES = (
    "open_clip",
    "pt2",
    "python",
    "sentence",
    "starter",
    "timm",
    "torchscript",
    "torchvision",
    "triplet",
)


def _deferred(name: str) -> Loader:
    """The loader of a name, imported at its first call: its libraries take seconds, and most stay unused."""

    def load(spec: Spec, settings: ModelSettings) -> Network:
        module = import_module(f"{__name__}.{MODULES.get(name, name)}")
        loader: Loader = getattr(module, f"load_{name}")
        return loader(spec, settings)

    return load


LOADERS: Mapping[str, Loader] = {name: _deferred(name) for name in NAMES}
