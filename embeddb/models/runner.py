"""A network where and how it is run: its device, its precision and the layout of its weights.

What the options leave open is measured when the model is loaded: every way that comes into question runs a
few images and texts, and the fastest wins among those whose features stay within `MIN_COSINE` of float32's.
No table would do: bfloat16 makes a ViT four times faster on a processor with AMX, and depthwise convolutions
four times slower on one without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from PIL import Image as PilImage

from embeddb.errors import FailedPreconditionError
from embeddb.models.network import Network, Output
from embeddb.models.probe import Measured, measure, probes
from embeddb.query import Modality, Precision, Running, RunOptions

__all__ = ["Runner"]

MIN_COSINE = 0.999
"""Least cosine between features at a reduced precision and those in float32, where the choice is ours."""
# What is not faster by this factor is noise, and the plainer way stays.
MIN_GAIN = 1.05

DTYPES = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Way:
    """One way to run a network."""

    precision: Precision
    channels_last: bool = False

    def __str__(self) -> str:
        return f"{self.precision}{', channels last' if self.channels_last else ''}"


class Runner:
    """Runs a network as its options say; what they leave open is chosen by measuring, here.

    Args:
        name: the model's, for the log.
        network: as it was loaded, in float32 on the CPU; its module is changed.
        options: the device and the precision.

    Raises:
        FailedPreconditionError: there is no such device, or the network does not run as the options say.
    """

    def __init__(self, name: str, network: Network, options: RunOptions) -> None:
        self._name = name
        self._network = network
        self._device = _device(options.device)
        network.module.to(self._device)
        self._restore = _remember(network.module)
        self._way = _Way(Precision.FLOAT32)
        if network.modalities:
            self._apply(self._choose(options))
        # Nothing goes back to float32 from here on, so its weights need not be kept beside the others.
        del self._restore

    @property
    def running(self) -> Running:
        """How the network runs, and how many bytes its weights take."""
        tensors = chain(self._network.module.parameters(), self._network.module.buffers())
        size = sum(tensor.nbytes for tensor in tensors)
        return Running(str(self._device), self._way.precision, size)

    def prepare(self, content: PilImage.Image | str) -> Any:
        """What `forward` takes: prepared by the network, and brought to its device and precision."""
        prepared = self._network.prepare(content)
        if not isinstance(prepared, torch.Tensor):
            return prepared
        if prepared.is_floating_point():
            prepared = prepared.to(DTYPES[self._way.precision])
        if self._device.type == "cuda":
            return prepared.pin_memory().to(self._device, non_blocking=True)
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        """Run a batch of what `prepare` gave."""
        return self._network.forward(modality, prepared)

    def _choose(self, options: RunOptions) -> _Way:
        ways = _ways(options, self._network.module, self._device)
        # The first is the plainest: in float32 where that is allowed, with the weights as they come.
        plain, reference = ways[0], self._measure(ways[0])
        measured = {plain: reference} | {way: self._try(way, reference) for way in ways[1:]}
        best = _fastest(plain, measured)
        times = "; ".join(f"{way} {m.seconds * 1e3:.1f} ms" for way, m in measured.items() if m)
        log.info("model %r runs in %s, as measured: %s", self._name, best, times)
        return best

    def _measure(self, way: _Way) -> Measured:
        try:
            self._apply(way)
            prepared = {
                modality: [self.prepare(each) for each in probes(modality)]
                for modality in self._network.modalities
            }
            measured = measure(self.forward, prepared)
        except Exception as error:
            # A network may have types built in, or lack a kernel; torch says so with errors of any class.
            first = str(error).partition("\n")[0]
            raise FailedPreconditionError(
                f"the model does not run in {way} on {self._device}: {first}"
            ) from error
        if not all(features.isfinite().all() for features in measured.features):
            raise FailedPreconditionError(f"the model's features in {way} are not finite numbers")
        return measured

    def _try(self, way: _Way, reference: Measured) -> Measured | None:
        """What a way that nobody has asked for gives; None if it fails, or strays from the reference."""
        try:
            measured = self._measure(way)
        except FailedPreconditionError as error:
            log.info("model %r, not taken: %s", self._name, error)
            return None
        cosine = measured.cosine(reference)
        if cosine < MIN_COSINE:
            log.info("model %r, not taken: %s, whose cosine to float32 is %.5f", self._name, way, cosine)
            return None
        return measured

    def _apply(self, way: _Way) -> None:
        module = self._network.module
        self._restore()
        module.to(DTYPES[way.precision])
        if way.channels_last:
            module.to(memory_format=torch.channels_last)
        self._way = way


def _ways(options: RunOptions, module: torch.nn.Module, device: torch.device) -> list[_Way]:
    """The ways that come into question."""
    precisions = [options.precision]
    if options.precision is Precision.AUTO:
        precisions = [Precision.FLOAT32]
        if _has_bfloat16(device):
            precisions.append(Precision.BFLOAT16)
    # One convolution is a ViT's cutting of patches; networks that are made of them gain from the layout.
    convolutions = sum(isinstance(each, torch.nn.Conv2d) for each in module.modules())
    layouts = (False, True) if convolutions > 1 else (False,)
    return [_Way(precision, channels_last) for precision in precisions for channels_last in layouts]


def _fastest(plain: _Way, measured: dict[_Way, Measured | None]) -> _Way:
    """The fastest way; the plain one, if none is clearly faster than that."""
    seconds = {way: each.seconds for way, each in measured.items() if each is not None}
    best = min(seconds, key=lambda way: seconds[way])
    return best if seconds[best] * MIN_GAIN < seconds[plain] else plain


def _device(asked: str) -> torch.device:
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(asked)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise FailedPreconditionError(f"device {asked!r} is not there: this machine has {count} CUDA devices")
    return device


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware calculates in bfloat16; elsewhere it is emulated, and not worth trying."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _remember(module: torch.nn.Module) -> Callable[[], None]:
    """Keep a module's tensors as they are; what is returned brings them back."""
    parameters = [(parameter, parameter.data) for parameter in module.parameters()]
    buffers = [
        (owner, name, buffer)
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]

    def restore() -> None:
        for parameter, data in parameters:
            parameter.data = data
        for owner, name, buffer in buffers:
            setattr(owner, name, buffer)

    return restore
