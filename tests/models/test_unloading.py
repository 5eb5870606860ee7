"""Models that are unloaded while others use them, and those that nobody uses any more."""

from __future__ import annotations

import faulthandler
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import torch

from embeddb.batching import Priority
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from embeddb.models import EmbedRequest, ModelSettings, Registry
from embeddb.models.usage import Usage
from embeddb.query import Precision, RunOptions, Text
from tests.models.conftest import MakeRegistry
from tests.models.networks import Means


def embed(registry: Registry, text: str = "abc") -> object:
    (outcome,) = registry.embed([EmbedRequest(Text(text), ["means"])], Priority.QUERY)
    return outcome


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        if time.monotonic() > end:
            # Of all threads: one of them waits for something.
            faulthandler.dump_traceback()
            pytest.fail("it took more than 20 seconds")
        time.sleep(0.01)


def test_a_model_that_nobody_uses_is_unloaded_and_loaded_again(
    means_loader: list[Means], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "embeddb")
    registry = Registry(ModelSettings())
    options = RunOptions(device="cpu", precision=Precision.FLOAT32, unload_after=0.2)
    registry.register("means", {"loader": "means"}, options)
    for loads in (1, 2):
        assert isinstance(embed(registry), dict)
        assert len(means_loader) == loads
        wait_until(lambda: registry.info("means").running is None)
        assert any("not used for 0." in each for each in caplog.messages)
        wait_until(lambda: caplog.messages[-1] == "model 'means': unloaded")
    registry.close()


@pytest.mark.parametrize("unload_after", [None, 0.2])
def test_what_is_unloaded_takes_no_memory(unload_after: float | None) -> None:
    registry = Registry(ModelSettings())
    spec = {"loader": "timm", "architecture": "test_resnet", "seed": 0}
    options = RunOptions(device="cpu", precision=Precision.FLOAT32, unload_after=unload_after)
    registry.register("net", spec, options)
    module = weakref.ref(registry.get("net")._runner._network.module)
    assert module() is not None
    if unload_after is None:
        registry.unload("net")
        assert module() is None
    wait_until(lambda: module() is None)
    registry.close()


def test_weights_that_do_not_fit_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> torch.nn.Module:
        raise torch.OutOfMemoryError("CUDA out of memory")

    registry, spec = Registry(ModelSettings()), {"loader": "timm", "architecture": "test_resnet", "seed": 0}
    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(FailedPreconditionError, match="the memory of cpu does not hold the weights"):
        registry.register("net", spec, RunOptions(device="cpu"))
    registry.close()


def test_a_model_in_use_is_not_idle(means_loader: list[Means]) -> None:
    registry = Registry(ModelSettings())
    options = RunOptions(device="cpu", precision=Precision.FLOAT32, unload_after=0.1)
    registry.register("means", {"loader": "means"}, options)
    network = means_loader[-1]
    network.forget()
    network.open.clear()
    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(embed, registry)
        assert network.started.acquire(timeout=20)
        time.sleep(0.4)
        assert registry.info("means").running is not None
        network.open.set()
        assert isinstance(running.result(20), dict)
    wait_until(lambda: registry.info("means").running is None)
    registry.close()


def test_a_model_is_loaded_again_only_when_those_who_used_the_last_one_are_done(
    make_registry: MakeRegistry, means_loader: list[Means]
) -> None:
    registry, network = make_registry()
    network.open.clear()
    with ThreadPoolExecutor(3) as callers:
        running = callers.submit(embed, registry)
        assert network.started.acquire(timeout=20)
        unloading = callers.submit(registry.unload, "means")
        wait_until(lambda: registry.info("means").running is None)
        later = callers.submit(embed, registry, "de")
        assert not wait([unloading, later], timeout=0.2).done
        assert len(means_loader) == 1, "the memory may not have room for two"
        network.open.set()
        unloading.result(20)
        assert isinstance(running.result(20), dict)
        assert isinstance(later.result(20), dict)
        assert len(means_loader) == 2


def test_a_model_that_is_removed_while_it_is_used_is_not_loaded_again(
    make_registry: MakeRegistry, means_loader: list[Means]
) -> None:
    registry, network = make_registry()
    network.open.clear()
    with ThreadPoolExecutor(3) as callers:
        running = callers.submit(embed, registry)
        assert network.started.acquire(timeout=20)
        removing = callers.submit(registry.remove, "means")
        wait_until(lambda: not registry.infos())
        later = callers.submit(embed, registry, "de")
        network.open.set()
        removing.result(20)
        assert isinstance(running.result(20), dict)
        assert isinstance(later.result(20), NotFoundError)
        assert len(means_loader) == 1


def test_nobody_is_refused_while_a_model_is_unloaded_again_and_again(make_registry: MakeRegistry) -> None:
    registry, _ = make_registry()
    done = threading.Event()

    def unload() -> None:
        while not done.is_set():
            registry.unload("means")

    with ThreadPoolExecutor(4) as callers:
        unloading = callers.submit(unload)
        outcomes = list(callers.map(lambda n: embed(registry, "a" * n), range(1, 60)))
        done.set()
        unloading.result(20)
    assert {type(each) for each in outcomes} == {dict}


def test_use_ends_before_it_is_closed() -> None:
    usage = Usage()
    assert usage.enter()
    assert usage.idle_seconds() == 0
    with ThreadPoolExecutor(1) as other:
        closing = other.submit(usage.close)
        wait_until(lambda: usage._closed)
        assert not usage.enter()
        assert not closing.done()
        usage.leave()
        closing.result(20)
    assert usage.idle_seconds() > 0


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_seconds_that_are_none_are_refused(seconds: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"options\.unload_after: .* must be positive seconds"):
        RunOptions(unload_after=seconds)
