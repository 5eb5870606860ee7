"""Batch norms in the convolutions before them: the same features, and nothing changed where that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from embeddb.models import ModelSettings, Output
from embeddb.models.folding import fold_batch_norms
from embeddb.models.loaders import LOADERS
from embeddb.models.probe import probes
from embeddb.models.runner import Runner
from embeddb.models.spec import Spec
from embeddb.query import Modality, Precision, RunOptions

SIDE = 12


def as_trained(module: nn.Module) -> None:
    """Give batch norms statistics, weights and biases that matter."""
    random = torch.Generator().manual_seed(0)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            assert each.running_mean is not None
            assert each.running_var is not None
            each.running_mean.normal_(std=0.2, generator=random)
            each.running_var.uniform_(0.5, 2.0, generator=random)
            if each.affine:
                nn.init.normal_(each.weight, 1.0, 0.2, generator=random)
                nn.init.normal_(each.bias, std=0.2, generator=random)


def norms(module: nn.Module) -> int:
    return sum(isinstance(each, nn.BatchNorm2d) for each in module.modules())


def fold(module: nn.Module, channels: int = 3) -> tuple[int, torch.Tensor, torch.Tensor]:
    """How many were folded, and the features before and after."""
    images = torch.randn(4, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))

    def run() -> Sequence[torch.Tensor]:
        with torch.inference_mode():
            return [module(images).flatten(1)]

    (before,) = run()
    folded = fold_batch_norms(module, run)
    (after,) = run()
    return folded, before, after


@given(
    st.sampled_from([(4, 6, 1), (4, 6, 2), (5, 5, 5)]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_convolution_and_its_norm_are_one_convolution(
    shape: tuple[int, int, int], kernel: int, stride: int, padding: str, bias: bool, affine: bool
) -> None:
    channels, width, groups = shape
    convolution = nn.Conv2d(
        *(channels, width, kernel, stride), padding=1, groups=groups, bias=bias, padding_mode=padding
    )
    network = nn.Sequential(convolution, nn.BatchNorm2d(width, affine=affine), nn.ReLU()).eval()
    as_trained(network)
    folded, before, after = fold(network, channels)
    assert (folded, norms(network)) == (1, 0)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


NETWORKS = {
    "timm, ResNet": ("timm", {"architecture": "test_resnet", "labels": ["cat", "cup", "rest"]}),
    "timm, activations inside the norms": ("timm", {"architecture": "test_efficientnet"}),
    "torchvision": ("torchvision", {"architecture": "shufflenet_v2_x0_5"}),
    "triplet, run twice for each picture": ("triplet", {"trunk": "test_resnet", "size": 64, "flip": True}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_its_library_does_without_its_norms(name: str) -> None:
    loader, keys = NETWORKS[name]
    network = LOADERS[loader](Spec(keys | {"seed": 0}), ModelSettings())
    as_trained(network.module)
    before, fingerprint = norms(network.module), network.fingerprint
    prepared: list[Any] = [network.prepare(each) for each in probes(Modality.IMAGE)]
    with torch.inference_mode():
        wanted = network.forward(Modality.IMAGE, prepared)
    runner = Runner(name, network, RunOptions(device="cpu", precision=Precision.FLOAT32), 8, {})
    given = runner.forward(Modality.IMAGE, prepared)
    assert before > 0
    assert norms(network.module) == 0
    assert network.fingerprint == fingerprint
    torch.testing.assert_close(given.features, wanted.features, rtol=1e-3, atol=1e-4)
    assert not torch.equal(given.features, wanted.features)
    if wanted.probabilities is not None:
        assert given.probabilities is not None
        torch.testing.assert_close(given.probabilities, wanted.probabilities, rtol=1e-3, atol=1e-4)


class Net(nn.Module):
    """A convolution and its norm, and what else a network may do with them."""

    def __init__(self, run: Callable[[Net, torch.Tensor], torch.Tensor], **options: Any) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3, **options)
        self.run = run

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.run(self, images)


def read_elsewhere(net: Net, images: torch.Tensor) -> torch.Tensor:
    made = net.convolution(images)
    return net.norm(made) + made


def changed_between(net: Net, images: torch.Tensor) -> torch.Tensor:
    return net.norm(net.convolution(images).relu_())


def called_alone(net: Net, images: torch.Tensor) -> torch.Tensor:
    return net.convolution(net.norm(net.convolution(images)))


def norm_of_two(net: Net, images: torch.Tensor) -> torch.Tensor:
    return net.norm(net.norm(net.convolution(images)))


def norm_first(net: Net, images: torch.Tensor) -> torch.Tensor:
    return net.convolution(net.norm(images))


def as_usual(net: Net, images: torch.Tensor) -> torch.Tensor:
    return net.norm(net.convolution(images))


def of_the_batch(net: Net) -> Net:
    net.norm.train()
    return net


def with_a_weight_that_is_calculated(net: Net) -> Net:
    weight_norm(net.convolution)
    return net


LEFT_ALONE = {
    "read elsewhere": partial(Net, read_elsewhere),
    "changed in between": partial(Net, changed_between),
    "called alone": partial(Net, called_alone),
    "one norm twice": partial(Net, norm_of_two),
    "the norm first": partial(Net, norm_first),
    "no statistics": partial(Net, as_usual, track_running_stats=False),
    "statistics of the batch": lambda: of_the_batch(Net(as_usual, momentum=0.0).eval()),
    "a weight that is calculated": lambda: with_a_weight_that_is_calculated(Net(as_usual)),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_cannot_be_folded_is_left_as_it_was(name: str) -> None:
    net = LEFT_ALONE[name]()
    if name != "statistics of the batch":
        net.eval()
    if net.norm.running_mean is not None:
        as_trained(net)
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    folded, before, after = fold(net)
    assert folded == 0
    assert torch.equal(before, after)
    assert net.state_dict().keys() == state.keys()
    assert all(
        torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items() if "num_" not in key
    )
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in net.modules())


def test_a_run_that_fails_leaves_all_as_it_was() -> None:
    net = Net(as_usual).eval()
    as_trained(net)
    weight, runs = net.convolution.weight, 0

    def run() -> Sequence[torch.Tensor]:
        nonlocal runs
        runs += 1
        if runs == 2:
            assert net.convolution.weight is not weight
            raise MemoryError("no room")
        return [net(torch.ones(1, 3, SIDE, SIDE)).flatten(1)]

    with pytest.raises(MemoryError, match="no room"):
        fold_batch_norms(net, run)
    assert net.convolution.weight is weight
    assert norms(net) == 1


class BuiltForHalves:
    """A network with a type of its own built in, which does not run in float32."""

    modalities = (Modality.IMAGE,)
    dimension = 3
    labels: tuple[str, ...] = ()
    fingerprint = "f" * 64

    def __init__(self) -> None:
        self.module: nn.Module = Net(as_usual).eval()

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        assert isinstance(content, PilImage.Image)
        return torch.tensor(np.asarray(content.resize((SIDE, SIDE)), np.float32)).permute(2, 0, 1)

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        made = self.module(torch.stack(tuple(prepared)))
        return Output((made + made @ torch.eye(SIDE, dtype=torch.bfloat16)).mean(dim=(2, 3)))


def test_a_network_that_does_not_run_in_float32_keeps_its_norms(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "embeddb")
    network = BuiltForHalves()
    runner = Runner("halves", network, RunOptions(device="cpu", precision=Precision.BFLOAT16), 4, {})
    assert norms(network.module) == 1
    assert "model 'halves': batch norms are not folded: the model does not run in float32" in caplog.text
    prepared = [runner.prepare(each) for each in probes(Modality.IMAGE)]
    assert runner.forward(Modality.IMAGE, prepared).features.isfinite().all()


def test_the_log_tells_how_many_were_folded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "embeddb")
    network = LOADERS["timm"](Spec({"architecture": "test_resnet", "seed": 0}), ModelSettings())
    count = norms(network.module)
    Runner("net", network, RunOptions(device="cpu"), 4, {})
    assert f"model 'net': {count} batch norms are folded into convolutions" in caplog.messages
