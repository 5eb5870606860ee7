"""How networks are run: precision, layout, device, and that none of it changes who they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

from embeddb.batching import Priority
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.models import EmbedRequest, ModelSettings, Registry, runner
from embeddb.models.network import Output
from embeddb.models.probe import Measured, probes
from embeddb.models.runner import Runner
from embeddb.query import Image, Modality, Precision, RunOptions
from tests.conftest import PHOTOS

SPEC = {"loader": "timm", "architecture": "test_resnet", "seed": 0}
PHOTO = (PHOTOS / "chelsea.png").read_bytes()


class Layers:
    """A network of few layers that only runs in some types."""

    modalities = (Modality.IMAGE,)
    dimension = 4
    labels = ()
    fingerprint = "f" * 64

    def __init__(self, *, types: Sequence[torch.dtype], noise: float = 0.0) -> None:
        self.module: torch.nn.Module = torch.nn.ModuleList([torch.nn.Linear(192, 4)])
        self.types = types
        self.noise = noise

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        assert isinstance(content, PilImage.Image)
        return torch.tensor(np.asarray(content.resize((8, 8)), np.float32)).flatten()

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        batch = torch.stack(tuple(prepared))
        if batch.dtype not in self.types:
            raise RuntimeError(f"no kernel for {batch.dtype}\nand a long story")
        with torch.inference_mode():
            features = next(self.module.children())(batch)
            if batch.dtype is not torch.float32:
                features = features + self.noise * torch.randn_like(features).abs() * features.abs().max()
        return Output(features)


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry(ModelSettings())
    yield registry
    registry.close()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_forced_precision_is_what_runs_and_stays_close(registry: Registry, precision: str) -> None:
    plain = registry.register("plain", SPEC, RunOptions(precision=Precision.FLOAT32))
    other = registry.register("other", SPEC, RunOptions(precision=Precision(precision)))
    assert other.fingerprint == plain.fingerprint
    assert other.running is not None
    assert plain.running is not None
    assert other.running.precision == precision
    ratio = plain.running.bytes / other.running.bytes
    assert ratio == pytest.approx(1 if precision == "float32" else 2, rel=0.01)
    outcome = registry.embed([EmbedRequest(Image(PHOTO), ["plain", "other"])], Priority.QUERY)[0]
    assert isinstance(outcome, dict)
    own, reference = outcome["other"].features, outcome["plain"].features
    assert own.dtype == np.float32
    cosine = own @ reference / np.linalg.norm(own) / np.linalg.norm(reference)
    assert cosine >= (0.99999 if precision == "float32" else 0.999)


def timed(monkeypatch: pytest.MonkeyPatch, seconds: dict[torch.dtype, float]) -> None:
    """Have the probe report times by the type of the inputs."""
    measure = runner.measure

    def fake(forward, prepared):  # type: ignore[no-untyped-def]
        measured = measure(forward, prepared)
        dtype = next(iter(prepared.values()))[0].dtype
        return Measured(seconds[dtype], measured.features)

    monkeypatch.setattr(runner, "measure", fake)
    monkeypatch.setattr(runner, "_has_bfloat16", lambda device: True)


BOTH = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(
    ("seconds", "noise", "types", "chosen"),
    [
        (0.5, 0.0, BOTH, "bfloat16"),
        (2.0, 0.0, BOTH, "float32"),
        (0.98, 0.0, BOTH, "float32"),
        (0.5, 0.5, BOTH, "float32"),
        (0.5, 0.0, (torch.float32,), "float32"),
    ],
    ids=["faster", "slower", "no faster than noise", "too far off", "fails"],
)
def test_auto_takes_bfloat16_only_where_it_is_faster_and_close(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    noise: float,
    types: Sequence[torch.dtype],
    chosen: str,
) -> None:
    timed(monkeypatch, {torch.float32: 1.0, torch.bfloat16: seconds})
    network = Layers(types=types, noise=noise)
    weight = next(network.module.parameters()).detach().clone()
    caplog.set_level("INFO", "embeddb")
    ran = Runner("layers", network, RunOptions())
    assert ran.running.precision == chosen
    assert "model 'layers' runs in " + chosen in caplog.text
    if chosen == "float32":
        assert torch.equal(next(network.module.parameters()), weight), "the weights are the exact ones again"


def test_a_precision_that_does_not_run_is_refused_where_it_was_asked_for() -> None:
    with pytest.raises(
        FailedPreconditionError, match=r"does not run in float16 on cpu: no kernel for [^\n]*$"
    ):
        Runner("layers", Layers(types=BOTH), RunOptions(precision=Precision.FLOAT16))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has CUDA")
def test_a_device_that_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(FailedPreconditionError, match=r"'cuda:3' is not there: this machine has 0 CUDA"):
        registry.register("x", SPEC, RunOptions(device="cuda:3"))
    with pytest.raises(InvalidArgumentError, match=r"options\.device: 'gpu' given"):
        RunOptions(device="gpu")
    with pytest.raises(InvalidArgumentError, match=r"options\.precision: 'int8' given, must be one of auto"):
        RunOptions(precision="int8")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives(registry: Registry) -> None:
    registry.register("cpu", SPEC, RunOptions(device="cpu", precision=Precision.FLOAT32))
    registry.register("gpu", SPEC, RunOptions(device="cuda"))
    outcome = registry.embed([EmbedRequest(Image(PHOTO), ["cpu", "gpu"])], Priority.QUERY)[0]
    assert isinstance(outcome, dict)
    own, reference = outcome["gpu"].features, outcome["cpu"].features
    assert own @ reference / np.linalg.norm(own) / np.linalg.norm(reference) >= 0.999


def test_the_probe_is_always_the_same() -> None:
    first, second = probes(Modality.IMAGE), probes(Modality.IMAGE)
    assert [np.asarray(each).tolist() for each in first] == [np.asarray(each).tolist() for each in second]
    assert len(first) == len(probes(Modality.TEXT))
