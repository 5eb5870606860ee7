"""Weights packed once for oneDNN, which otherwise lays them out anew for every product and convolution.

On a CPU, the linear layers, convolutions and self-attention of a network are replaced when it is loaded. An
activation right behind one of them becomes part of it, and so does the sum at the end of a block of a ResNet:
each saves a pass over the activations. In float32, oneDNN's products also take the place of MKL's.

The operations are torch's own, made for its compiler (`torch/_inductor/fx_passes/mkldnn_fusion.py`) and not
public. So whoever packs a network compares its features with those of before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import nn

from embeddb.models.packed_layers import (
    ACTIVATIONS,
    NONE,
    Activation,
    PackedAttention,
    PackedConvolution,
    PackedLinear,
    PackedResidual,
)

__all__ = ["Packed", "can_pack"]

OPERATIONS = (
    "_reorder_linear_weight",
    "_linear_pointwise",
    "_reorder_convolution_weight",
    "_convolution_pointwise",
    "_convolution_pointwise_",
)
# What says whether oneDNN calculates in a type on this processor.
SUPPORT = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}

BLOCKS: Mapping[str, tuple[str, str, str]] = {
    "timm.models.resnet.BasicBlock": ("conv1 bn1 drop_block act1 aa", "conv2 bn2", "act2"),
    "timm.models.resnet.Bottleneck": ("conv1 bn1 act1 conv2 bn2 drop_block act2 aa", "conv3 bn3", "act3"),
    "torchvision.models.resnet.BasicBlock": ("conv1 bn1 relu", "conv2 bn2", "relu"),
    "torchvision.models.resnet.Bottleneck": ("conv1 bn1 relu conv2 bn2 relu", "conv3 bn3", "relu"),
}
"""Residual blocks by their class: their layers, from the last convolution to the sum, and what follows."""
# What such a block may also have before the sum.
BEFORE_THE_SUM = ("se", "drop_path")

CHAINS: Mapping[str, str] = {
    "timm.layers.mlp.Mlp": "fc1 act",
    "timm.models.resnet.ResNet": "conv1 bn1 act1",
    "torchvision.models.resnet.ResNet": "conv1 bn1 relu",
}
"""Layers that run one after the other, in networks and parts of them, by their class."""

Seen = Mapping[nn.Module, Sequence[int]]


def can_pack(module: nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a network has such layers, and this torch the operations for them at such a precision here."""
    onednn = torch.ops.mkldnn
    # Without oneDNN, torch has none of them.
    if device.type != "cpu" or not all(hasattr(onednn, name) for name in (*OPERATIONS, *SUPPORT.values())):
        return False
    is_supported = dtype is torch.float32 or (dtype in SUPPORT and getattr(onednn, SUPPORT[dtype])())
    return is_supported and any(map(_is_known, module.modules()))


class _Change(NamedTuple):
    """Of a layer that an owner has."""

    owner: nn.Module
    name: str
    old: nn.Module
    new: nn.Module


class Packed:
    """A network's layers with packed weights, which can be put in the place of its own and taken out again.

    Args:
        module: all that `run` goes through, on the CPU, at the precision at which it stays; its layers are as
            they were afterwards.
        run: runs it, on inputs as large as those to come.

    Raises:
        Exception: whatever `run` or oneDNN raises.
    """

    def __init__(self, module: nn.Module, run: Callable[[], object]) -> None:
        self._changes: list[_Change] = []
        self._seen = _seen(module, run)
        owners = list(module.modules())
        self._places = Counter(child for owner in owners for child in owner._modules.values())
        self._users = Counter(each for owner in owners for each in owner._parameters.values())
        try:
            with torch.no_grad():
                self._pack_blocks(module)
                self._pack_layers(module)
        finally:
            self.take_out()

    def put_in(self) -> None:
        """From now on, the network runs the packed layers."""
        for each in self._changes:
            setattr(each.owner, each.name, each.new)

    def take_out(self) -> None:
        """Have the network's own layers again."""
        for each in reversed(self._changes):
            setattr(each.owner, each.name, each.old)

    def _pack_blocks(self, module: nn.Module) -> None:
        """The residual blocks in sequences."""
        for owner in list(module.modules()):
            follows = False
            for name, block in list(owner._modules.items()) if type(owner) is nn.Sequential else ():
                residual = self._residual(block, follows)
                if residual is not None:
                    self._replace(owner, name, residual)
                follows = residual is not None

    def _pack_layers(self, module: nn.Module) -> None:
        """All layers that are left."""
        for owner in list(module.modules()):
            for name, layer in list(owner._modules.items()):
                if layer is not None and self._can_pack(layer):
                    self._replace(owner, name, self._packed(layer, self._take_activation(owner, name)))

    def _residual(self, block: Any, follows: bool) -> PackedResidual | None:
        """What takes the place of a block, if it ends in a sum and its positive part.

        Args:
            follows: whether it gets what another block gave.
        """
        kind = _kind(block)
        if kind not in BLOCKS or _has_hooks(block):
            return None
        if any(getattr(block, name, None) is not None for name in BEFORE_THE_SUM):
            return None
        parts: list[list[Any]] = [
            [getattr(block, name, None) for name in part.split()] for part in BLOCKS[kind]
        ]
        first, (last, *norm), (activation,) = parts
        if not self._can_pack(last) or not all(map(_passes, norm)) or type(activation) is not nn.ReLU:
            return None
        # These are run no more.
        if any(map(_has_hooks, (*norm, activation))):
            return None
        layers = nn.Sequential(*(each for each in first if each is not None))
        # Nobody else reads what a block gave to the next in a sequence, or what the shortcut's layers made.
        overwrites = follows or (block.downsample is not None and not _passes(block.downsample))
        convolution = PackedConvolution(last, self._seen[last])
        return PackedResidual(layers.eval(), convolution, block.downsample, overwrites)

    def _can_pack(self, layer: nn.Module) -> bool:
        """Whether it was seen, and its parameters and itself are in one place each."""
        alone = self._places[layer] == 1 and all(self._users[each] == 1 for each in layer.parameters())
        return layer in self._seen and alone

    def _packed(self, layer: nn.Module, activation: Activation) -> nn.Module:
        if isinstance(layer, nn.MultiheadAttention):
            return PackedAttention(layer)
        if isinstance(layer, nn.Conv2d):
            return PackedConvolution(layer, self._seen[layer], activation)
        assert isinstance(layer, nn.Linear)
        return PackedLinear(layer.weight, layer.bias, activation)

    def _take_activation(self, owner: nn.Module, name: str) -> Activation:
        """Take the activation out of a chain of layers that follows a linear layer or convolution in it."""
        chain = list(owner._modules) if type(owner) is nn.Sequential else CHAINS.get(_kind(owner), "").split()
        if name not in chain or isinstance(owner._modules[name], nn.MultiheadAttention):
            return NONE
        for following in chain[chain.index(name) + 1 :]:
            layer = owner._modules[following]
            assert layer is not None
            if _has_hooks(layer):
                break
            if type(layer) in ACTIVATIONS:
                self._replace(owner, following, nn.Identity())
                return ACTIVATIONS[type(layer)](layer)
            if not _passes(layer):
                break
        return NONE

    def _replace(self, owner: nn.Module, name: str, layer: nn.Module) -> None:
        self._changes.append(_Change(owner, name, getattr(owner, name), layer))
        setattr(owner, name, layer)


def _seen(module: nn.Module, run: Callable[[], object]) -> Seen:
    """The layers that have a packed form and are called in a run, with the sizes of their first inputs."""
    seen: dict[nn.Module, Sequence[int]] = {}
    unknown: set[nn.Module] = set()

    def before(layer: nn.Module, inputs: tuple[torch.Tensor, ...], named: Mapping[str, Any]) -> None:
        if inputs and (_is_plain(inputs, named) if isinstance(layer, nn.MultiheadAttention) else not named):
            seen.setdefault(layer, inputs[0].shape)
        else:
            unknown.add(layer)

    with ExitStack() as hooks:
        # A list first: what has hooks of others is not known.
        for layer in [each for each in module.modules() if _is_known(each)]:
            hooks.enter_context(layer.register_forward_pre_hook(before, with_kwargs=True))
        run()
    return {layer: size for layer, size in seen.items() if layer not in unknown}


def _is_known(layer: nn.Module) -> bool:
    """Whether a layer has a packed form, and nothing is hung on it that would be lost."""
    if layer.training or _has_hooks(layer):
        return False
    # Classes that are derived from these may do anything, and a parametrization derives one.
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if type(layer) is nn.MultiheadAttention:
        own = layer.bias_k is not None or layer.add_zero_attn
        return layer.batch_first and layer.in_proj_weight is not None and not own
    return type(layer) is nn.Linear


def _is_plain(inputs: tuple[torch.Tensor, ...], named: Mapping[str, Any]) -> bool:
    """Whether attention is called as `PackedAttention` can be: to itself, and with such a mask."""
    mask = named.get("attn_mask")
    return (
        len(inputs) == 3
        and all(each is inputs[0] for each in inputs)
        and inputs[0].dim() == 3
        and named.keys() <= {"need_weights", "attn_mask"}
        and named.get("need_weights") is False
        and (mask is None or (mask.is_floating_point() and mask.dim() == 2))
    )


def _has_hooks(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _passes(layer: nn.Module) -> bool:
    """Whether a layer gives what it gets."""
    empty = type(layer) is nn.Sequential and len(layer) == 0
    return empty or isinstance(layer, nn.Identity) or (isinstance(layer, nn.Dropout) and not layer.training)
