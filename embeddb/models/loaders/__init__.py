"""The loaders, by the name that a spec gives under "loader"."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from embeddb.models.loaders.open_clip import load_open_clip
from embeddb.models.loaders.program import load_pt2, load_torchscript
from embeddb.models.loaders.python import load_python
from embeddb.models.loaders.sentence import load_sentence
from embeddb.models.loaders.starter import load_starter
from embeddb.models.loaders.timm import load_timm
from embeddb.models.loaders.torchvision import load_torchvision
from embeddb.models.loaders.triplet import load_triplet
from embeddb.models.loaders.vectors import load_vectors
from embeddb.models.network import Network
from embeddb.models.settings import ModelSettings
from embeddb.models.spec import Spec

__all__ = ["LOADERS"]

Loader = Callable[[Spec, ModelSettings], Network]

LOADERS: Mapping[str, Loader] = {
    "open_clip": load_open_clip,
    "pt2": load_pt2,
    "python": load_python,
    "sentence": load_sentence,
    "starter": load_starter,
    "timm": load_timm,
    "torchscript": load_torchscript,
    "torchvision": load_torchvision,
    "triplet": load_triplet,
    "vectors": load_vectors,
}
