"""Bytes -> features: the registered models, how they are loaded, fed and run.

`Registry` is what the engine uses. An image is decoded once (`images`), prepared for each model that wants
it by that model's own transform, and run in batches that form by themselves (`model`). `loaders` turn a
spec, which is plain data, into a `Network`.

Importing this imports no torch, which takes seconds and much memory: a database of given vectors
never needs it. `Registry` imports it with the first model it loads, and so does naming one of `_OF_TORCH`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embeddb.batching import Priority
from embeddb.models.contents import EmbedRequest
from embeddb.models.gpus import GpuMemory, gpu_memory
from embeddb.models.recent import TextCacheFigures
from embeddb.models.registry import Registry
from embeddb.settings import ModelSettings

if TYPE_CHECKING:
    from embeddb.models.model import Model
    from embeddb.models.network import Network, Output
    from embeddb.models.runner import Choices

__all__ = [
    "Choices",
    "EmbedRequest",
    "GpuMemory",
    "Model",
    "ModelSettings",
    "Network",
    "Output",
    "Priority",
    "Registry",
    "TextCacheFigures",
    "gpu_memory",
]

_OF_TORCH = {"Choices": "runner", "Model": "model", "Network": "network", "Output": "network"}


def __getattr__(name: str) -> Any:
    if name not in _OF_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OF_TORCH[name]}"), name)
