"""The ways in which a network can be run, and which of them a machine and the options leave open."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from embeddb.errors import FailedPreconditionError
from embeddb.query import Precision, RunOptions

__all__ = ["DTYPES", "Way", "eager_ways", "find_device", "has_bfloat16", "machine"]

DTYPES = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}


@dataclass(frozen=True)
class Way:
    """One way to run a network.

    Attributes:
        precision: of its weights; never AUTO.
        channels_last: whether the weights of convolutions lie in that order.
        compiled: whether torch.compile has translated it.
        packed: whether its weights were laid out for oneDNN.
    """

    precision: Precision
    channels_last: bool = False
    compiled: bool = False
    packed: bool = False

    def __str__(self) -> str:
        named = {"channels last": self.channels_last, "compiled": self.compiled, "packed": self.packed}
        return ", ".join([str(self.precision), *(name for name, is_so in named.items() if is_so)])


def eager_ways(options: RunOptions, module: torch.nn.Module, device: torch.device) -> list[Way]:
    """The ways that come into question without compiling; the plainest first."""
    precisions = [options.precision]
    if options.precision is Precision.AUTO:
        precisions = [Precision.FLOAT32]
        if has_bfloat16(device):
            precisions.append(Precision.BFLOAT16)
    # One convolution is a ViT's cutting of patches; networks that are made of them gain from the layout.
    convolutions = sum(isinstance(each, torch.nn.Conv2d) for each in module.modules())
    layouts = (False, True) if convolutions > 1 else (False,)
    return [Way(precision, channels_last) for precision in precisions for channels_last in layouts]


def find_device(asked: str) -> torch.device:
    """The device that the options ask for.

    Raises:
        FailedPreconditionError: it is not there.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(asked)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise FailedPreconditionError(f"device {asked!r} is not there: this machine has {count} CUDA devices")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware calculates in bfloat16; elsewhere it is emulated, and not worth trying."""
    if device.type == "cuda":
        # It answers for the thread's own device, and GPUs of one machine may differ.
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def machine(device: torch.device) -> str:
    """What decides how fast a way is here, besides the network: hardware, threads and torch's version."""
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        amx = ", AMX" if torch.cpu._is_amx_tile_supported() else ""
        bfloat16 = ", bfloat16" if has_bfloat16(device) else ""
        capability = torch.backends.cpu.get_cpu_capability()
        hardware = f"{capability}{bfloat16}{amx}, {torch.get_num_threads()} threads"
    return f"{device.type}: {hardware}; torch {torch.__version__}"
