"""What a loader makes of a spec: a network that prepares inputs one by one and runs them in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image as PilImage

from embeddb.query import Modality

__all__ = [
    "CompilableNetwork",
    "ImageTextNetwork",
    "Network",
    "Output",
    "ReentrantNetwork",
    "Resize",
    "ResizingNetwork",
]

Resize = Callable[[PilImage.Image], PilImage.Image]
"""An RGB picture to one of another size."""


@dataclass(frozen=True)
class Output:
    """What a batch gives.

    Attributes:
        features: (n, dimension), of any floating type.
        probabilities: (n, classes) float32 that sum to 1 along the classes; None for a model without classes.
    """

    features: torch.Tensor
    probabilities: torch.Tensor | None = None


@runtime_checkable
class ImageTextNetwork(Protocol):
    """What a network also has that was trained to tell which text goes with an image.

    Attributes:
        logit_scale: what cosines are multiplied by.
        logit_bias: what is added then, before a sigmoid; None for a model that takes a softmax over texts.
    """

    logit_scale: float
    logit_bias: float | None


@runtime_checkable
class CompilableNetwork(Protocol):
    """What a network also has that gains from `torch.compile` where that is asked for.

    Attributes:
        compilable: the methods in which its time goes, each as a module and the method's name. They are
            replaced there, so `forward` must look them up at each run.
    """

    compilable: Sequence[tuple[torch.nn.Module, str]]


@runtime_checkable
class ReentrantNetwork(Protocol):
    """What a network also has whose `forward` may run on several threads at once.

    Attributes:
        reentrant: whether it may. On a CPU, each core then takes a part of a large batch through the network.
    """

    reentrant: bool


@runtime_checkable
class ResizingNetwork(Protocol):
    """What a network also has whose `prepare` begins with resizing a picture.

    Attributes:
        resize: to the same size in less time, rounding some numbers otherwise; the runtime does so before
            `prepare` where it reduces the precision. None where there is nothing faster.
    """

    resize: Resize | None


class Network(Protocol):
    """A loaded network. `prepare` runs on many threads at once, `forward` on one at a time unless it may be
    on several (see `ReentrantNetwork`).

    The runtime moves `module` to its device and brings it to its precision after the network was made, and
    the tensors that `prepare` gives likewise, before `forward` gets them, in inference mode. A
    `forward` that makes tensors of its own asks the module's parameters where to put them.
    Batch norms in `module` may be folded into convolutions, and layers replaced by others that do the same,
    so `forward` looks its modules up at each run.

    Attributes:
        module: all that has weights, several in a `ModuleList`, in evaluation mode; the fingerprint is taken
            before it is cast.
        modalities: what it encodes.
        dimension: of its features.
        labels: the names of its classes; empty for none.
        fingerprint: a hash over weights, architecture and preprocessing.
    """

    module: torch.nn.Module
    modalities: tuple[Modality, ...]
    dimension: int
    labels: tuple[str, ...]
    fingerprint: str

    def prepare(self, content: PilImage.Image | str) -> Any:
        """Turn one RGB image or text into what `forward` takes: a float32 or integer tensor, or a string."""

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        """Run a batch of prepared inputs of one modality."""
