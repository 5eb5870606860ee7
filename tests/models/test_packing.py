"""Packed layers give what a network's own give, and what cannot be packed is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from embeddb.models import ModelSettings, runner
from embeddb.models.folding import fold_batch_norms
from embeddb.models.loaders import LOADERS
from embeddb.models.packed_layers import (
    ACTIVATIONS,
    PackedAttention,
    PackedConvolution,
    PackedLinear,
    PackedResidual,
)
from embeddb.models.packing import Packed, can_pack
from embeddb.models.probe import probes
from embeddb.models.runner import Choices, Runner
from embeddb.models.spec import Spec
from embeddb.models.way import Way
from embeddb.query import Modality, Precision, RunOptions

CPU = torch.device("cpu")
DTYPES = [
    dtype
    for dtype in (torch.float32, torch.bfloat16)
    if can_pack(nn.Sequential(nn.Linear(1, 1)).eval(), CPU, dtype)
]
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
PACKED = (PackedAttention, PackedConvolution, PackedLinear, PackedResidual)

layers = st.sampled_from([None, *(kind() for kind in ACTIVATIONS), nn.GELU(approximate="tanh")])


def packed(module: nn.Module) -> list[str]:
    """The kinds of the packed layers in a network, attention's own two left out."""
    attentions = [each for each in module.modules() if isinstance(each, PackedAttention)]
    inside = {layer for attention in attentions for layer in attention.children()}
    return [
        type(each).__name__ for each in module.modules() if isinstance(each, PACKED) and each not in inside
    ]


def check_same(module: nn.Module, *inputs: torch.Tensor) -> list[str]:
    """Pack a network for the first input, and compare what it gives for all; gives what is in it then."""
    module.eval()
    with torch.inference_mode():
        before = [module(each).clone() for each in inputs]
        own = Packed(module, lambda: module(inputs[0]))
        assert not packed(module)
        own.put_in()
        kinds = packed(module)
        for each, expected in zip(inputs, before, strict=True):
            # In bfloat16 an activation that is part of a layer saves a rounding.
            rounding = (
                {"rtol": 1e-4, "atol": 1e-4} if each.dtype is torch.float32 else {"rtol": 0.02, "atol": 0.02}
            )
            torch.testing.assert_close(module(each), expected, **rounding)
        own.take_out()
        assert not packed(module)
        assert torch.equal(module(inputs[0]), before[0])
    return kinds


@given(
    st.sampled_from(DTYPES), st.integers(1, 40), st.integers(1, 40), st.booleans(), layers, st.integers(1, 70)
)
@settings(max_examples=60, deadline=None)
def test_a_linear_layer_and_its_activation_are_one(
    dtype: torch.dtype, width: int, features: int, bias: bool, activation: nn.Module | None, count: int
) -> None:
    behind = [] if activation is None else [nn.Dropout(), activation]
    network = nn.Sequential(nn.Linear(width, features, bias=bias), *behind).to(dtype)
    inputs = [torch.randn(*shape, width).to(dtype) for shape in ((6,), (1,), (count,), (2, 3), (count, 1, 2))]
    assert check_same(network, *inputs) == ["PackedLinear"]


@given(
    st.sampled_from(DTYPES),
    st.sampled_from([(4, 6, 1), (4, 6, 2), (5, 5, 5), (3, 32, 1)]),
    st.sampled_from([(1, 1, 0, 1), (1, 2, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (5, 1, 0, 1)]),
    st.booleans(),
    layers,
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_convolution_and_its_activation_are_one(
    dtype: torch.dtype,
    channels: tuple[int, int, int],
    geometry: tuple[int, int, int, int],
    bias: bool,
    activation: nn.Module | None,
    channels_last: bool,
) -> None:
    inward, outward, groups = channels
    kernel, stride, padding, dilation = geometry
    convolution = nn.Conv2d(inward, outward, kernel, stride, padding, dilation, groups, bias)
    behind = [] if activation is None else [nn.Identity(), activation]
    network = nn.Sequential(convolution, *behind).to(dtype)
    inputs = [
        torch.randn(count, inward, side, 9).to(dtype) for count, side in ((6, 8), (1, 8), (17, 8), (2, 13))
    ]
    if channels_last:
        network.to(memory_format=torch.channels_last)
    assert check_same(network, *inputs) == ["PackedConvolution"]


class Attending(nn.Module):
    """Self-attention, called as options say."""

    def __init__(self, attention: nn.MultiheadAttention, **options: Any) -> None:
        super().__init__()
        self.attention, self.options = attention, options

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        attended: torch.Tensor = self.attention(inputs, inputs, inputs, **self.options)[0]
        return attended


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_is_the_same(dtype: torch.dtype, bias: bool, masked: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(24, 3, bias=bias, batch_first=True)
    if bias:
        nn.init.normal_(attention.in_proj_bias)
        nn.init.normal_(attention.out_proj.bias)
    mask = torch.full((7, 7), -torch.inf).triu(1).to(dtype) if masked else None
    network = Attending(attention, need_weights=False, attn_mask=mask).to(dtype)
    inputs = [torch.randn(count, 7, 24).to(dtype) for count in (6, 1, 9)]
    assert check_same(network, *inputs) == ["PackedAttention"]


def clip() -> tuple[nn.Module, torch.Tensor]:
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 20, "width": 32, "heads": 2, "layers": 1}
    return open_clip.CLIP(16, vision, text).visual, torch.randn(6, 3, 32, 32)


def vit() -> tuple[nn.Module, torch.Tensor]:
    return timm.create_model("test_vit", num_classes=3), torch.randn(6, 3, 160, 160)


def resnet(make: Callable[..., nn.Module], *names: str) -> Callable[[], tuple[nn.Module, torch.Tensor]]:
    def made() -> tuple[nn.Module, torch.Tensor]:
        network: nn.Module = make(*names)
        for each in network.modules():
            if isinstance(each, nn.BatchNorm2d):
                # timm begins with blocks that add nothing.
                nn.init.uniform_(each.weight, 0.2, 0.4)
        return network, torch.randn(2, 3, 64, 64)

    return made


NETWORKS = {
    "open_clip, attention of torch's": (
        clip,
        {"PackedAttention": 2, "PackedLinear": 4, "PackedConvolution": 1},
    ),
    "timm, attention of its own": (vit, {"PackedConvolution": 1}),
    "timm, basic blocks": (
        resnet(timm.create_model, "resnet18"),
        {"PackedResidual": 8, "PackedConvolution": 20},
    ),
    "timm, bottlenecks": (
        resnet(timm.create_model, "resnet50"),
        {"PackedResidual": 16, "PackedConvolution": 53},
    ),
    "torchvision, basic blocks": (resnet(torchvision.models.resnet18), {"PackedResidual": 8}),
    "torchvision, bottlenecks": (resnet(torchvision.models.resnet50), {"PackedResidual": 16}),
    "torchvision, sequences": (resnet(torchvision.models.mobilenet_v2), {"PackedConvolution": 52}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_network_is_the_same_for_batches_of_any_size(name: str) -> None:
    torch.manual_seed(0)
    make, kinds = NETWORKS[name]
    network, images = make()
    network.eval()
    with torch.inference_mode():
        fold_batch_norms(network, lambda: [network(images)])
    found = check_same(network, images, images[:1], images.repeat(3, 1, 1, 1))
    assert {kind: found.count(kind) for kind in kinds} == kinds


def test_what_a_block_gets_from_outside_is_not_overwritten() -> None:
    stage = timm.create_model("resnet18").layer1
    stage.eval()
    images = torch.randn(2, 64, 8, 8).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        fold_batch_norms(stage, lambda: [stage(images).flatten(1)])
    assert check_same(stage, images).count("PackedResidual") == 2
    before = images.clone()
    with torch.inference_mode():
        own = Packed(stage, lambda: stage(images))
        own.put_in()
        stage(images)
    assert torch.equal(images, before)


def test_a_block_with_a_hook_stays_as_it_is() -> None:
    stage = timm.create_model("resnet18").layer1
    stage[0].register_forward_hook(lambda block, inputs, output: 2 * output)
    found = check_same(stage, torch.randn(2, 64, 8, 8))
    assert found.count("PackedResidual") == 0, "its batch norms stand between the convolutions and the sums"
    assert found.count("PackedConvolution") == 4
    stage.eval()
    with torch.inference_mode():
        fold_batch_norms(stage, lambda: [stage(torch.ones(2, 64, 8, 8)).flatten(1)])
    assert check_same(stage, torch.randn(2, 64, 8, 8)).count("PackedResidual") == 1


def test_what_has_hooks_is_no_part_of_a_packed_layer() -> None:
    seen: list[int] = []

    def see(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.append(len(output))

    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval()
    network[1].register_forward_hook(see)
    stage = timm.create_model("resnet18").layer1.eval()
    images = torch.randn(2, 64, 8, 8)
    with torch.inference_mode():
        fold_batch_norms(stage, lambda: [stage(images).flatten(1)])
    stage[0].act2.register_forward_hook(see)
    assert check_same(network, torch.randn(5, 8)) == ["PackedLinear"]
    assert check_same(stage, images).count("PackedResidual") == 1
    # Before, while it was packed, with the packed layers, and after.
    assert seen == [5] * 4 + [2] * 4


def test_this_torch_has_what_packing_takes() -> None:
    assert torch.float32 in DTYPES


class Reading(nn.Linear):
    """Another class than torch's."""


class Twice(nn.Module):
    """A layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.one = self.other = nn.Linear(8, 8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.one(inputs)
        return made


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.other.weight = self.one.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.other(self.one(inputs))
        return made


class Named(nn.Module):
    """A layer that is called with a name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.layer(input=inputs)
        return made


class NotCalled(nn.Module):
    """A layer of which only the weight is used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.layer.weight


def hooked() -> nn.Module:
    layer = nn.Linear(8, 8)
    layer.register_forward_hook(lambda layer, inputs, output: 2 * output)
    return nn.Sequential(layer)


def attending(mask: torch.Tensor | None = None, weights: bool = False, **options: Any) -> nn.Module:
    attention = nn.MultiheadAttention(8, 2, **{"batch_first": True, **options})
    return Attending(attention, need_weights=weights, attn_mask=mask)


LEFT_ALONE: dict[str, Callable[[], nn.Module]] = {
    "of another class": lambda: nn.Sequential(Reading(8, 8)),
    "in two places": Twice,
    "with a weight that another has": Tied,
    "called with a name": Named,
    "not called": NotCalled,
    "with a hook": hooked,
    "with a weight that is calculated": lambda: nn.Sequential(weight_norm(nn.Linear(8, 8))),
    "attention whose mask says where": lambda: attending(torch.eye(3, dtype=torch.bool)),
    "attention with a mask for each": lambda: attending(torch.zeros(8, 3, 3)),
    "attention whose weights are wanted": lambda: attending(weights=True),
    "attention, batch second": lambda: attending(batch_first=False),
    "attention to a bias": lambda: attending(add_bias_kv=True),
    "attention to zeros": lambda: attending(add_zero_attn=True),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_cannot_be_packed_is_left_alone(name: str) -> None:
    assert check_same(LEFT_ALONE[name](), torch.randn(4, 3, 8)) == []


def test_padding_that_is_not_zeros_is_left_alone() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(4, 4, 3, padding="same")
    )
    assert check_same(network, torch.randn(2, 3, 8, 8)) == []


def test_a_network_that_fails_in_between_is_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).eval()
    children = list(network)

    def run() -> None:
        network(torch.ones(2, 4))
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        Packed(network, run)
    assert list(network) == children
    assert not any(each._forward_pre_hooks for each in network.modules())


def test_it_is_for_what_runs_in_onednn() -> None:
    layer = nn.Linear(4, 4).eval()
    assert can_pack(layer, CPU, torch.float32)
    assert not can_pack(nn.ReLU().eval(), CPU, torch.float32), "there is nothing to pack"
    assert not can_pack(layer, torch.device("cuda"), torch.float32)
    assert not can_pack(layer, CPU, torch.float64)


def running(choices: Choices, **options: Any) -> Runner:
    network = LOADERS["timm"](Spec({"architecture": "test_resnet", "seed": 0}), ModelSettings())
    return Runner(
        "net", network, RunOptions(device="cpu", precision=Precision.FLOAT32, **options), 8, choices
    )


def images(own: Runner) -> list[Any]:
    return [own.prepare(each) for each in probes(Modality.IMAGE)]


def test_a_model_runs_packed_where_that_is_faster_and_after_a_restart(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "embeddb")
    monkeypatch.setattr(Runner, "_fastest", lambda self, ways: ways[0])
    plain = running({})
    expected = plain.forward(Modality.IMAGE, images(plain)).features
    assert not packed(plain._network.module)
    monkeypatch.setattr(Runner, "_fastest", lambda self, ways: ways[-1])
    choices: Choices = {}
    for _ in range(2):
        own = running(choices)
        assert "PackedConvolution" in packed(own._network.module)
        torch.testing.assert_close(
            own.forward(Modality.IMAGE, images(own)).features, expected, rtol=1e-3, atol=1e-4
        )
        assert own.running.bytes == plain.running.bytes, "no weight is there twice"
        assert own._way == Way(Precision.FLOAT32, channels_last=True, packed=True)
    assert caplog.messages[-1] == "model 'net' runs in float32, channels last, packed, as measured before"


def test_packed_weights_that_give_something_else_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "embeddb")
    monkeypatch.setattr(Runner, "_fastest", lambda self, ways: ways[-1])
    forward = PackedConvolution.forward
    monkeypatch.setattr(
        PackedConvolution, "forward", lambda self, inputs: torch.randn_like(forward(self, inputs))
    )
    own = running({})
    assert not packed(own._network.module)
    assert "not taken: float32, channels last, packed, whose cosine" in caplog.text


def test_packing_that_fails_leaves_a_model_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "embeddb")

    def fails(*arguments: object) -> None:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(runner, "Packed", fails)
    own = running({})
    assert own.forward(Modality.IMAGE, images(own)).features.isfinite().all()
    assert "not taken: the model does not run in float32" in caplog.text
    assert "packed on cpu: could not create a primitive" in caplog.text
