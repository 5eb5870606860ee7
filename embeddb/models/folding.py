"""Batch norms folded into the convolutions before them, which saves a pass over the activations for each.

In evaluation a batch norm multiplies each channel by a number and adds another one, and the convolution
before it can do both (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2). Which convolution that is, is seen in a run, so
that no network has to be traced; that nothing else read what it gave is seen in a second one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["fold_batch_norms"]

MAX_CHANGE = 0.01
"""Of features, as a part of their length. Rounding changes them by 1e-5, and on a GPU in TF32 by 1e-3."""

Run = Callable[[], Sequence[torch.Tensor]]
Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


@dataclass(frozen=True)
class _Change:
    """Of a module's attribute."""

    module: nn.Module
    name: str
    old: Any
    new: Any


def fold_batch_norms(module: nn.Module, run: Run) -> int:
    """Fold the 2-d batch norms of a network in evaluation, where its features stay what they are.

    Convolutions get new weights; a batch norm gives way to the layers inside it, such as timm's activation.

    Args:
        module: all that `run` goes through. If anything fails it is as it was.
        run: gives (n, dimension) features, for each modality, of inputs that are always the same.

    Returns:
        How many were folded.

    Raises:
        Exception: whatever `run` raises.
    """
    if not any(map(_is_fixed, module.modules())):
        return 0
    pairs, features = _pairs(module, run)
    changes = _changes(module, pairs)
    for each in changes:
        setattr(each.module, each.name, each.new)
    same = False
    try:
        same = all(map(_same, features, run()))
    finally:
        if not same:
            for each in changes:
                setattr(each.module, each.name, each.old)
    return len(pairs) if same else 0


def _is_fixed(module: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether it is a batch norm that no longer depends on the batch."""
    return isinstance(module, nn.BatchNorm2d) and not module.training and module.running_mean is not None


def _pairs(module: nn.Module, run: Run) -> tuple[Sequence[Pair], Sequence[torch.Tensor]]:
    """Convolutions and batch norms that are never called but together, and the features of that run."""
    made: MutableMapping[torch.Tensor, nn.Conv2d] = WeakTensorKeyDictionary()
    calls: Counter[nn.Module] = Counter()
    followed: Counter[Pair] = Counter()

    def after_convolution(convolution: nn.Conv2d, inputs: object, output: torch.Tensor) -> None:
        calls[convolution] += 1
        made[output] = convolution

    def before_norm(norm: nn.BatchNorm2d, inputs: Iterable[torch.Tensor]) -> None:
        calls[norm] += 1
        for each in inputs:
            if each in made:
                followed[made[each], norm] += 1

    with ExitStack() as hooks:
        for each in module.modules():
            # A weight that is calculated anew at each run, as by a parametrization, is no parameter.
            if isinstance(each, nn.Conv2d) and isinstance(each.weight, nn.Parameter):
                hooks.enter_context(each.register_forward_hook(after_convolution))
            elif _is_fixed(each):
                hooks.enter_context(each.register_forward_pre_hook(before_norm))
        features = run()
    return [pair for pair, times in followed.items() if times == calls[pair[0]] == calls[pair[1]]], features


def _changes(module: nn.Module, pairs: Iterable[Pair]) -> Sequence[_Change]:
    changes, instead = [], {}
    for convolution, norm in pairs:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            weight, bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
        changes.append(_Change(convolution, "weight", convolution.weight, weight))
        changes.append(_Change(convolution, "bias", convolution.bias, bias))
        instead[norm] = nn.Sequential(*norm.children()).eval()
    for owner in module.modules():
        for name, child in owner.named_children():
            if child in instead:
                changes.append(_Change(owner, name, child, instead[child]))
    return changes


def _same(before: torch.Tensor, after: torch.Tensor) -> bool:
    change = (after - before).norm(dim=1)
    return bool((change <= MAX_CHANGE * before.norm(dim=1)).all())
