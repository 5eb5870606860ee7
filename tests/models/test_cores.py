"""A batch divided among the cores gives what it gives undivided, and torch is left as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from embeddb.models import ModelSettings, Registry
from embeddb.models.cores import MIN_PART, Cores
from embeddb.models.network import Output
from embeddb.models.runner import Runner
from embeddb.query import Modality, Precision, RunOptions
from tests.models.networks import Means

THREADS, MAX_PART = 3, 5


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cores]:
    """Three, however many the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    cores = Cores("divided", MAX_PART)
    yield cores
    cores.close()
    torch.set_num_threads(before)


def doubled(part: Sequence[torch.Tensor]) -> Output:
    batch = torch.stack(tuple(part))
    return Output(2 * batch, batch.softmax(dim=1))


@pytest.mark.parametrize(
    ("count", "sizes"), [(THREADS, [1] * 3), (10, [3, 3, 4]), (15, [5] * 3), (16, [2, 2, 3, 3, 3, 3])]
)
def test_parts_are_put_together_in_order(cores: Cores, count: int, sizes: Sequence[int]) -> None:
    batch = list(torch.arange(2.0 * count).reshape(count, 2))
    seen: list[int] = []

    def run(part: Sequence[torch.Tensor]) -> Output:
        seen.append(len(part))
        return doubled(part)

    output = cores.divide(run, batch)
    assert sorted(seen) == sizes
    assert torch.equal(output.features, doubled(batch).features)
    assert output.probabilities is not None
    assert torch.equal(output.probabilities, torch.stack(batch).softmax(dim=1))


def test_every_part_is_on_a_thread_that_torch_divides_nothing_in_and_others_keep_theirs(cores: Cores) -> None:
    together, seen = threading.Barrier(THREADS, timeout=60), []

    def run(part: Sequence[torch.Tensor]) -> Output:
        together.wait()
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return doubled(part)

    cores.divide(run, list(torch.zeros(8, 2)))
    assert len({name for name, _ in seen}) == THREADS
    assert {count for _, count in seen} == {1}
    assert torch.get_num_threads() == THREADS
    new: list[int] = []
    thread = threading.Thread(target=lambda: new.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert new == [THREADS]


def test_an_error_is_raised_once_every_part_has_ended(cores: Cores) -> None:
    ended = []

    def run(part: Sequence[torch.Tensor]) -> Output:
        if part[0][0] == 0:
            raise ZeroDivisionError("the first part")
        threading.Event().wait(0.05)
        ended.append(len(part))
        return doubled(part)

    with pytest.raises(ZeroDivisionError, match="the first part"):
        cores.divide(run, list(torch.arange(12.0).reshape(6, 2)))
    assert ended == [2, 2]


def test_small_batches_are_not_divided(cores: Cores) -> None:
    assert cores.can_divide([None] * THREADS * MIN_PART)
    assert not cores.can_divide([None] * (THREADS * MIN_PART - 1))


@pytest.mark.usefixtures("cores")
def test_only_networks_that_allow_it_run_on_several_threads() -> None:
    network, inputs = Means(), [torch.full((3,), n / 100) for n in range(THREADS * MIN_PART)]
    options = RunOptions(precision=Precision.FLOAT32)
    runner = Runner("whole", network, options, 32, {})
    network.forget()
    whole = runner.forward(Modality.IMAGE, inputs)
    assert [size for _, size in network.runs] == [len(inputs)]
    runner.close()

    network.reentrant = True  # type: ignore[attr-defined]
    runner = Runner("divided", network, options, 32, {})
    network.forget()
    divided = runner.forward(Modality.IMAGE, inputs)
    assert [size for _, size in network.runs] == [MIN_PART] * THREADS
    assert torch.equal(divided.features, whole.features)
    runner.close()


class Chosen(dict[str, dict[str, Any]]):
    """What was chosen before, whatever for."""

    def __init__(self, **way: Any) -> None:
        super().__init__()
        self._way = way

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._way


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(("channels_last", "sizes"), [(False, [12] * 3), (True, [6] * 6)])
def test_networks_of_convolutions_get_fewer_at_once(channels_last: bool, sizes: Sequence[int]) -> None:
    network, choices = Means(), Chosen(precision="float32", channels_last=channels_last)
    network.reentrant = True  # type: ignore[attr-defined]
    runner = Runner("parts", network, RunOptions(), 64, choices)
    network.forget()
    runner.forward(Modality.IMAGE, [torch.zeros(3)] * 36)
    assert [size for _, size in network.runs] == sizes
    runner.close()


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    "spec",
    [
        {"loader": "timm", "architecture": "test_vit", "seed": 0},
        {"loader": "timm", "architecture": "test_resnet", "seed": 0},
        {"loader": "torchvision", "architecture": "shufflenet_v2_x0_5", "seed": 0},
    ],
    ids=lambda spec: spec["architecture"],
)
def test_features_are_those_of_the_whole_batch(spec: dict[str, object]) -> None:
    registry = Registry(ModelSettings())
    registry.register("model", spec, RunOptions(precision=Precision.FLOAT32))
    runner = registry.get("model")._runner  # type: ignore[union-attr]
    assert runner._cores is not None
    torch.manual_seed(0)
    shape = (3, 160, 160) if "test_" in str(spec["architecture"]) else (3, 224, 224)
    inputs = list(torch.randn(THREADS * MIN_PART + 1, *shape))
    divided = runner.forward(Modality.IMAGE, inputs)
    whole = runner._run(Modality.IMAGE, inputs)
    assert torch.allclose(divided.features, whole.features, rtol=1e-4, atol=1e-5)
    registry.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("model-core")]
