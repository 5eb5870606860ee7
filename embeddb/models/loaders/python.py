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
from embeddb.models.network import Network, Output
from embeddb.models.probe import probes
from embeddb.models.spec import Spec
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["load_python"]

TOLERANCE = 0.01
"""Of probabilities: those of a class that calculates in bfloat16 do not end at 1."""


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
    module_name, colon, class_name = path.partition(":")
    if not colon:
        raise InvalidArgumentError("spec.class", path, "must be MODULE:CLASS")
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
    _check_attributes(path, network)
    # As every network is when it is loaded. Weights that were made of numpy's arrays are in float64.
    network.module.float()
    _check_runs(path, network)
    checked: Network = network
    return checked


def _check_attributes(path: str, network: Any) -> None:
    """Refuse at once what would fail later, in somebody's request."""
    _require(path, isinstance(getattr(network, "module", None), torch.nn.Module), "module, a torch.nn.Module")
    _require(path, isinstance(getattr(network, "fingerprint", None), str), "fingerprint, a string")
    dimension: Any = getattr(network, "dimension", None)
    _require(path, isinstance(dimension, int) and dimension > 0, "dimension, a whole number above 0")
    labels: Any = getattr(network, "labels", None)
    are_names = isinstance(labels, tuple) and all(isinstance(each, str) for each in labels)
    _require(path, are_names, "labels, a tuple of names")
    modalities = getattr(network, "modalities", ())
    _require(path, bool(modalities) and set(modalities) <= set(Modality), "modalities, of Modality")


def _check_runs(path: str, network: Network) -> None:
    """Refuse what fails on one input of a modality, or gives what is no output."""
    for modality in network.modalities:
        try:
            prepared = network.prepare(probes(modality)[0])
            if isinstance(prepared, torch.Tensor) and prepared.is_floating_point():
                prepared = prepared.float()
            output = network.forward(modality, [prepared])
        except Exception as error:
            failed = f"{path} fails on {modality}s: {type(error).__name__}: {error}"
            raise FailedPreconditionError(failed) from error
        _check_output(path, output, network.dimension, len(network.labels))


def _check_output(path: str, output: Any, dimension: int, labels: int) -> None:
    """Refuse what a network gave of one input, if it is not what `Output` says."""
    kind = type(output).__name__
    _require(path, isinstance(output, Output), f"a forward that gives an embeddb.models.Output, not a {kind}")
    features, probabilities = output.features, output.probabilities
    _require_floating(path, "features", features)
    shape = tuple(features.shape)
    _require(path, shape == (1, dimension), f"features of (n, {dimension}), not {shape}")
    if probabilities is None:
        return
    _require_floating(path, "probabilities", probabilities)
    scores = tuple(probabilities.shape)
    _require(path, scores == (1, labels), f"as many labels as probabilities, {scores}")
    least, most = (end.item() for end in probabilities[0].aminmax()) if labels else (0.0, 1.0)
    allowed = f"probabilities from 0 to 1, such as a softmax gives, not from {least:.3g} to {most:.3g}"
    _require(path, least >= -TOLERANCE and most <= 1 + TOLERANCE, allowed)


def _require_floating(path: str, name: str, given: Any) -> None:
    is_tensor = isinstance(given, torch.Tensor)
    kind = str(given.dtype) if is_tensor else type(given).__name__
    is_floating = is_tensor and given.is_floating_point()
    _require(path, is_floating, f"{name} that are a tensor of floating type, not {kind}")


def _require(path: str, condition: bool, what: str) -> None:
    if not condition:
        raise InvalidArgumentError("spec.class", path, f"what it makes must have {what}")
