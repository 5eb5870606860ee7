"""A class of your own, by its import path.

    {"loader": "python", "class": "my_models.faces:FaceNet", "arguments": {"margin": 20}}

Keys:
    class: "MODULE:CLASS".
    arguments: an object of keyword arguments for it; none by default.

What the class makes is an `embeddb.models.Network`: it has `module`, `modalities`, `dimension`, `labels` and
`fingerprint`, and the methods `prepare` and `forward`. The starter model's is a worked example.

Runs the module: it must be on the operator's list, --allow-modules MODULE,MODULE.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from embeddb.errors import EmbeddbError, FailedPreconditionError, InvalidArgumentError
from embeddb.models.network import Network
from embeddb.models.probe import probes
from embeddb.models.spec import Spec
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["load_python"]


def load_python(spec: Spec, settings: ModelSettings) -> Network:
    """Make an instance of the class that a spec names.

    Raises:
        PermissionDeniedError: the operator has not allowed the module.
        InvalidArgumentError: there is no such class, or what it makes is no network.
        FailedPreconditionError: the module or the class failed.
    """
    path = spec.require("class", str)
    arguments = spec.take("arguments", dict, {})
    spec.done()
    module_name, _, class_name = path.partition(":")
    settings.check_module("spec.class", module_name)
    try:
        module = importlib.import_module(module_name)
        if not isinstance(vars(module).get(class_name), type):
            raise InvalidArgumentError("spec.class", path, "must be MODULE:CLASS, and there is no such class")
        network = vars(module)[class_name](**arguments)
    except EmbeddbError:
        raise
    except Exception as error:
        # The operator's own code raises whatever it likes.
        raise FailedPreconditionError(f"{path} cannot be made: {type(error).__name__}: {error}") from error
    _check(path, network)
    checked: Network = network
    return checked


def _check(path: str, network: Any) -> None:
    """Refuse at once what would fail later, in somebody's request."""
    _require(path, isinstance(getattr(network, "module", None), torch.nn.Module), "module, a torch.nn.Module")
    _require(path, isinstance(getattr(network, "fingerprint", None), str), "fingerprint, a string")
    dimension = getattr(network, "dimension", None)
    _require(path, isinstance(dimension, int) and dimension > 0, "dimension, a whole number above 0")
    labels: Any = getattr(network, "labels", None)
    _require(path, isinstance(labels, tuple), "labels, a tuple of names")
    modalities = getattr(network, "modalities", ())
    _require(path, bool(modalities) and set(modalities) <= set(Modality), "modalities, of Modality")
    for modality in modalities:
        try:
            output = network.forward(modality, [network.prepare(probes(modality)[0])])
            shape = tuple(output.features.shape)
            scores = None if output.probabilities is None else tuple(output.probabilities.shape)
        except Exception as error:
            failed = f"{path} fails on {modality}s: {type(error).__name__}: {error}"
            raise FailedPreconditionError(failed) from error
        _require(path, shape == (1, dimension), f"features of (n, {dimension}), not {shape}")
        _require(path, scores in (None, (1, len(labels))), f"as many labels as probabilities, {scores}")


def _require(path: str, condition: bool, what: str) -> None:
    if not condition:
        raise InvalidArgumentError("spec.class", path, f"what it makes must have {what}")
