"""Bytes -> features: the registered models, how they are loaded, fed and run.

`Registry` is what the engine uses. An image is decoded once (`images`), prepared for each model that wants
it by that model's own transform, and run in batches that form by themselves (`model`). `loaders` turn a
spec, which is plain data, into a `Network`.
"""

from embeddb.batching import Priority
from embeddb.models.contents import EmbedRequest
from embeddb.models.gpus import GpuMemory, gpu_memory
from embeddb.models.model import Model
from embeddb.models.network import Network, Output
from embeddb.models.recent import TextCacheFigures
from embeddb.models.registry import Registry
from embeddb.models.runner import Choices
from embeddb.settings import ModelSettings

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
