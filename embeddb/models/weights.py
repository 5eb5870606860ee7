"""Weights from files, without running anything that a file may contain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from embeddb.errors import InvalidArgumentError

__all__ = ["load_by_name", "load_in_order", "read_state_dict", "rename"]


def read_state_dict(field: str, file: Path) -> dict[str, torch.Tensor]:
    """Read tensors by name from a .safetensors file, or a .pt/.pth file that holds nothing else.

    A checkpoint that keeps them under "state_dict" or "model" is opened there; "module." of DataParallel and
    "_orig_mod." of torch.compile are taken off the names.

    Raises:
        InvalidArgumentError: the file is not one, or holds something that would have to be run.
    """
    try:
        if file.suffix == ".safetensors":
            state: object = safetensors.torch.load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged file makes the readers raise nearly anything; what would have to be run fails here too.
        # torch goes on for pages, in bold, about how to run it all the same.
        first = str(error).partition("\n")[0].partition(". ")[0]
        raise InvalidArgumentError(field, file.name, f"holds no plain tensors: {first}") from None
    if isinstance(state, dict):
        state = next(
            (state[key] for key in ("state_dict", "model") if isinstance(state.get(key), dict)), state
        )
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InvalidArgumentError(field, file.name, "must hold tensors by name")
    return {_without_wrapper(str(name)): tensor for name, tensor in state.items()}


def _without_wrapper(name: str) -> str:
    """A tensor's name without what DataParallel and torch.compile put before it."""
    return name.removeprefix("module.").removeprefix("_orig_mod.")


def rename(state: Mapping[str, torch.Tensor], prefixes: Mapping[str, str | None]) -> dict[str, torch.Tensor]:
    """Replace the longest prefix that fits each name; None leaves the tensor out, no fit changes nothing."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        prefix = max((each for each in prefixes if name.startswith(each)), key=len, default="")
        replacement = prefixes.get(prefix, prefix)
        if replacement is not None:
            renamed[replacement + name.removeprefix(prefix)] = tensor
    return renamed


def load_by_name(field: str, network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Fill a network with the tensors of the same names; all of them must fit.

    Batch normalisation's counters may be missing, as they are in old files: only training reads them.

    Raises:
        InvalidArgumentError: a tensor is missing, left over or of another shape; nothing was changed.
    """
    own = network.state_dict()
    counters = {name: own[name] for name in own if name.endswith(".num_batches_tracked")}
    state = counters | dict(state)
    missing, left_over = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or left_over:
        given = f"{len(missing)} tensors missing, {len(left_over)} left over"
        names = f"missing are {missing[:3]}, left over {left_over[:3]}"
        raise InvalidArgumentError(field, given, f"the names must be the architecture's; {names}")
    _check_shapes(field, own, state)
    network.load_state_dict(state)


def load_in_order(field: str, network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Fill a network with tensors that have other names but the same order and shapes.

    Raises:
        InvalidArgumentError: their number or a shape differs; nothing was changed.
    """
    own = network.state_dict()
    if len(own) != len(state):
        raise InvalidArgumentError(field, f"{len(state)} tensors", f"the architecture has {len(own)}")
    renamed = dict(zip(own, state.values(), strict=True))
    _check_shapes(field, own, renamed)
    network.load_state_dict(renamed)


def _check_shapes(field: str, own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            given = f"{name} of shape {tuple(state[name].shape)}"
            raise InvalidArgumentError(field, given, f"the architecture has {tuple(tensor.shape)}")
