"""Layers whose weights lie as oneDNN needs them, and which do what follows them in the same pass.

`embeddb.models.packing` says where they take the place of a network's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "PackedAttention",
    "PackedConvolution",
    "PackedLinear",
    "PackedResidual",
]

onednn: Any = torch.ops.mkldnn


class Activation(NamedTuple):
    """A function of each number, as oneDNN names it.

    Attributes:
        numbers: that it depends on.
        algorithm: where there are several.
    """

    name: str
    numbers: Sequence[float] = ()
    algorithm: str = ""


NONE = Activation("none")
RELU = Activation("relu")
ACTIVATIONS: Mapping[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda _: RELU,
    nn.ReLU6: lambda _: Activation("hardtanh", (0.0, 6.0)),
    nn.GELU: lambda gelu: Activation("gelu", (), gelu.approximate),
    nn.SiLU: lambda _: Activation("swish"),
    nn.Hardswish: lambda _: Activation("hardswish"),
}
"""Those that can be part of the layer before them, by their layers."""


class PackedLinear(nn.Linear):
    """A linear layer and the activation behind it.

    Args:
        weight: (out_features, in_features), is copied.
        bias: (out_features,).
    """

    def __init__(
        self, weight: torch.Tensor, bias: nn.Parameter | None, activation: Activation = NONE
    ) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        # Of the same shape and type for whoever asks, but no numbers can be read from it.
        self.register_buffer("weight", onednn._reorder_linear_weight(weight))
        self.register_parameter("bias", bias)
        self._activation = activation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        made: torch.Tensor = onednn._linear_pointwise(inputs, self.weight, self.bias, *self._activation)
        return made


class PackedConvolution(nn.Conv2d):
    """A convolution and the activation behind it; what it gives is in channels-last order.

    Args:
        convolution: stays as it is.
        input_size: (n, channels, height, width) of what it will get, by which the layout is chosen. Inputs of
            other sizes give the same, some of them slower.
    """

    def __init__(
        self, convolution: nn.Conv2d, input_size: Sequence[int], activation: Activation = NONE
    ) -> None:
        nn.Module.__init__(self)
        self.in_channels, self.out_channels = convolution.in_channels, convolution.out_channels
        self.kernel_size, self.padding_mode = convolution.kernel_size, convolution.padding_mode
        self.padding, self.stride = convolution.padding, convolution.stride
        self.dilation, self.groups = convolution.dilation, convolution.groups
        self.output_padding = convolution.output_padding
        weight = onednn._reorder_convolution_weight(convolution.weight, *self._geometry, input_size)
        self.register_buffer("weight", weight)
        self.bias = convolution.bias
        self._activation = activation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(n, channels, height, width) of both."""
        name, numbers, algorithm = self._activation
        made: torch.Tensor = onednn._convolution_pointwise(
            inputs, self.weight, self.bias, *self._geometry, name, numbers, algorithm
        )
        return made

    def added(self, inputs: torch.Tensor, other: torch.Tensor, overwrite: bool) -> torch.Tensor:
        """The positive part of the sum with another tensor of the output's shape.

        Args:
            overwrite: whether the other's memory may take the sum, which saves some.
        """
        layer = (self.weight, self.bias, *self._geometry, "add", None, RELU.name, RELU.numbers, None)
        made: torch.Tensor
        if overwrite:
            made = onednn._convolution_pointwise_.binary(other, inputs, *layer)
        else:
            made = onednn._convolution_pointwise.binary(inputs, other, *layer)
        return made

    @property
    def _geometry(self) -> tuple[Any, ...]:
        return self.padding, self.stride, self.dilation, self.groups


class PackedAttention(nn.Module):
    """Multi-head self-attention that does not tell what it attended to.

    Args:
        attention: `batch_first`, with one dimension for all, and nothing added to keys and values; stays as
            it is.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = attention.num_heads
        self._in = PackedLinear(attention.in_proj_weight, attention.in_proj_bias)
        self._out = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        need_weights: bool = False,
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """(n, length, dimension) -> the same, and None.

        Args:
            key, value: the query itself.
            attn_mask: (length, length), is added.
        """
        count, length, dimension = query.shape
        projected = self._in(query).view(count, length, 3, self._heads, dimension // self._heads)
        queries, keys, values = projected.permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask)
        return self._out(attended.transpose(1, 2).flatten(2)), None


class PackedResidual(nn.Module):
    """A block of a ResNet: layers, then the positive part of the sum with what came around them.

    Args:
        layers: before the last convolution.
        shortcut: what comes around goes through it; None for nothing.
        overwrites: whether nobody else reads what comes out of the shortcut.
    """

    def __init__(
        self, layers: nn.Sequential, last: PackedConvolution, shortcut: nn.Module | None, overwrites: bool
    ) -> None:
        super().__init__()
        self.layers, self.last, self.shortcut = layers, last, shortcut
        self._overwrites = overwrites

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(n, channels, height, width) of both."""
        around = inputs if self.shortcut is None else self.shortcut(inputs)
        return self.last.added(self.layers(inputs), around, self._overwrites)
