"""How networks are run: precision, layout, device, and that none of it changes who they are."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

import embeddb
from embeddb.batching import Priority
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError
from embeddb.models import EmbedRequest, ModelSettings, Registry, probe, runner, way
from embeddb.models.network import Output
from embeddb.models.probe import in_turns, probes
from embeddb.models.runner import Choices, Runner
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
    """Have the probe report times by the type of the inputs, with a first round that met something else."""
    turns: Counter[torch.dtype] = Counter()

    def fake(forward: object, prepared: Mapping[Modality, Sequence[torch.Tensor]]) -> float:
        dtype = next(iter(prepared.values()))[0].dtype
        turns[dtype] += 1
        return seconds[dtype] if turns[dtype] > 1 else 1 / seconds[dtype]

    monkeypatch.setattr(runner, "seconds", fake)
    monkeypatch.setattr(way, "has_bfloat16", lambda device: True)


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
    ran = Runner("layers", network, RunOptions(), 4, {})
    assert ran.running.precision == chosen
    assert "model 'layers' runs in " + chosen in caplog.text
    if chosen == "float32":
        assert torch.equal(next(network.module.parameters()), weight), "the weights are the exact ones again"


@pytest.mark.parametrize(
    ("takes", "rounds"), [(0.001, probe.MAX_ROUNDS), (probe.MAX_SECONDS / 8, 4), (60.0, probe.MIN_ROUNDS)]
)
def test_ways_have_their_turns_round_after_round_and_slow_ones_few_rounds(
    monkeypatch: pytest.MonkeyPatch, takes: float, rounds: int
) -> None:
    clock = SimpleNamespace(now=0.0, turns=[])
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def turn(name: str, seconds: float) -> float:
        clock.now += takes
        clock.turns.append(name)
        return seconds

    timed = in_turns([partial(turn, "plain", 2.0), partial(turn, "other", 1.0)])
    assert timed.tolist() == [[2.0, 1.0]] * rounds
    assert clock.turns == ["plain", "other"] * rounds


def test_a_network_is_brought_to_each_way_once_and_then_only_changed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed(monkeypatch, {torch.float32: 1.0, torch.bfloat16: 0.5})
    casts, bring = [], Runner._bring

    def counting(self: Runner, *to: object, **options: object) -> None:
        casts.append(to)
        bring(self, *to, **options)

    monkeypatch.setattr(Runner, "_bring", counting)
    network = Layers(types=BOTH)
    Runner("layers", network, RunOptions(device="cpu"), 4, {})
    assert casts == [(torch.device("cpu"),), (torch.bfloat16,)]
    assert next(network.module.parameters()).dtype is torch.bfloat16


def test_a_way_whose_weights_find_no_room_on_the_device_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    timed(monkeypatch, {torch.float32: 1.0, torch.bfloat16: 0.5})
    network = Layers(types=BOTH)
    to = torch.nn.Linear.to

    def full(module: torch.nn.Linear, *where: object) -> torch.nn.Linear:
        if where == (torch.bfloat16,):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return to(module, *where)

    monkeypatch.setattr(torch.nn.Module, "to", full)
    caplog.set_level("INFO", "embeddb")
    assert Runner("layers", network, RunOptions(device="cpu"), 4, {}).running.precision == "float32"
    assert "model 'layers', not taken: the memory of cpu does not hold the weights" in caplog.messages
    with pytest.raises(FailedPreconditionError, match="the memory of cpu does not hold the weights"):
        Runner("layers", network, RunOptions(device="cpu", precision=Precision.BFLOAT16), 4, {})


def test_a_precision_that_does_not_run_is_refused_where_it_was_asked_for() -> None:
    with pytest.raises(
        FailedPreconditionError, match=r"does not run in float16 on cpu: no kernel for [^\n]*$"
    ):
        Runner("layers", Layers(types=BOTH), RunOptions(precision=Precision.FLOAT16), 4, {})


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_models_on_a_gpu_have_streams_of_their_own_and_what_is_uploaded_is_whole(registry: Registry) -> None:
    for name in ("one", "two"):
        registry.register(name, SPEC, RunOptions(device="cuda", precision=Precision.FLOAT32))
    streams = {registry.get(name)._runner._stream for name in ("one", "two")}
    assert len(streams | {torch.cuda.default_stream()}) == 3
    outcomes = registry.embed([EmbedRequest(Image(PHOTO), ["one", "two"])] * 200, Priority.BULK)
    features = np.stack([outcome[name].features for outcome in outcomes for name in ("one", "two")])  # type: ignore[index]
    np.testing.assert_allclose(features, features[:1].repeat(400, axis=0), rtol=1e-3, atol=1e-5)


def test_batch_norms_are_folded_on_the_stream_that_reads_the_folded_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside: list[Runner] = []

    @contextmanager
    def on_stream(self: Runner) -> Iterator[None]:
        inside.append(self)
        yield
        inside.pop()

    monkeypatch.setattr(Runner, "_on_stream", on_stream)
    folded: list[int] = []
    monkeypatch.setattr(runner, "fold_batch_norms", lambda *_: folded.append(len(inside)) or 0)
    Runner("layers", Layers(types=BOTH), RunOptions(precision=Precision.FLOAT32), 4, {})
    assert folded == [1]


def test_an_input_that_finds_no_room_on_the_device_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    registry.register("net", SPEC, RunOptions(device="cpu", precision=Precision.FLOAT32))
    own = registry.get("net")._runner

    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "pin_memory", full)
    monkeypatch.setattr(own, "_on_stream", nullcontext)
    monkeypatch.setattr(own, "_stream", object())
    (outcome,) = registry.embed([EmbedRequest(Image(PHOTO), ["net"])], Priority.QUERY)
    assert isinstance(outcome, ResourceExhaustedError)
    assert str(outcome) == "model 'net': the memory of cpu does not hold a batch of 1"


def test_each_gpu_says_for_itself_whether_it_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = [torch.device("cuda:0")]

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    def supported(*, including_emulation: bool) -> bool:
        return not including_emulation and current[-1].index == 1

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert [way.has_bfloat16(torch.device("cuda", number)) for number in (0, 1)] == [False, True]


def test_the_probe_is_always_the_same_and_like_photographs() -> None:
    first, second = probes(Modality.IMAGE), probes(Modality.IMAGE)
    assert [np.asarray(each).tolist() for each in first] == [np.asarray(each).tolist() for each in second]
    assert len(first) == len(probes(Modality.TEXT))
    for picture in first:
        grey = np.asarray(picture.convert("L"), np.float64)  # type: ignore[union-attr]
        spectrum = np.abs(np.fft.fft2(grey - grey.mean()))[0, 1:65]
        slope, _ = np.polyfit(np.log(np.arange(1, 65)), np.log(spectrum), 1)
        assert -1.4 < slope < -0.6, "the amplitude falls as 1/f"


def test_weights_that_lose_photographs_in_bfloat16_are_not_run_in_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """EfficientNet-Lite0, inside the starter model: 0.96 with scikit-image's photograph of gravel."""
    timed(monkeypatch, {torch.float32: 1.0, torch.bfloat16: 0.1})
    caplog.set_level("INFO", "embeddb")
    registry = Registry(ModelSettings())
    running = registry.register("starter", {"loader": "starter"}, RunOptions(device="cpu")).running
    registry.close()
    assert running is not None
    assert running.precision == "float32"
    assert "not taken: bfloat16, whose cosine to the plain way is 0.99" in caplog.text
    assert "without the mean" in caplog.text


def test_a_restart_measures_nothing_until_something_is_different(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured = []
    seconds = runner.seconds

    def counting(*arguments):  # type: ignore[no-untyped-def]
        measured.append(arguments)
        return seconds(*arguments)

    monkeypatch.setattr(runner, "seconds", counting)
    with embeddb.open(tmp_path) as database:
        first = database.register_model("first", SPEC).running
        before = len(measured)
        assert before > 0
        assert database.register_model("second", SPEC).running == first, "another name for the same network"
        assert len(measured) == before
    with embeddb.open(tmp_path) as database:
        assert database.model("first").running == first
        assert len(measured) == before
        database.register_model("other", SPEC | {"seed": 1})
        assert len(measured) > before, "other weights"
    before = len(measured)
    monkeypatch.setattr(runner, "machine", lambda device: "another machine")
    with embeddb.open(tmp_path) as database:
        assert database.model("first").running is not None
    assert len(measured) > before


def test_loading_tells_the_log_what_was_loaded_and_how_it_runs(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "embeddb")
    registry.register("net", SPEC, RunOptions())
    assert "model 'net': loading with timm" in caplog.messages
    assert any(
        "median gain over the first way: float32" in each and "(1.00); " in each for each in caplog.messages
    )
    assert any(each.startswith("model 'net' runs in ") for each in caplog.messages)
    assert caplog.messages[-1].startswith("model 'net': loaded in ")
    assert caplog.messages[-1].endswith(" MB on cpu")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("faster", [True, False])
def test_a_compiled_network_runs_where_it_is_faster_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    network = Layers(types=BOTH)
    layer = next(network.module.children())

    def fake(*_: object) -> float:
        return (0.5 if faster else 2.0) if "forward" in vars(layer) else 1.0

    monkeypatch.setattr(runner, "seconds", fake)
    network.compilable = [(layer, "forward")]
    options = RunOptions(device="cpu", precision=Precision.FLOAT32)
    inputs = [network.prepare(each) for each in probes(Modality.IMAGE)]  # type: ignore[arg-type]
    plain = Runner("plain", network, options, 4, {}).forward(Modality.IMAGE, inputs).features
    choices: Choices = {}
    ran = Runner("compiled", network, replace(options, compile=True), 4, choices)
    assert ran.running.compiled == faster
    assert ("forward" in vars(layer)) == faster
    for count in (1, 2, 3, 6):
        features = ran.forward(Modality.IMAGE, inputs[:count]).features
        torch.testing.assert_close(features, plain[:count], rtol=1e-4, atol=1e-2)
    if faster:
        vars(layer).pop("forward")
    again = Runner("again", network, replace(options, compile=True), 4, choices)
    assert again.running == ran.running, "kept, and nothing measured"


def test_what_cannot_be_compiled_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    options = RunOptions(compile=True)
    with pytest.raises(InvalidArgumentError, match=r"options\.compile: True given, must be false"):
        registry.register("given", {"loader": "vectors", "dimension": 4}, options)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        FailedPreconditionError, match=r"needs a C\+\+ compiler, and there is no 'no-such-comp"
    ):
        registry.register("net", SPEC, options)


@pytest.mark.parametrize("fits", [3, 0])
def test_a_device_out_of_memory_goes_on_in_halves(registry: Registry, fits: int) -> None:
    """A network that holds no more than `fits` inputs, as a GPU's memory does."""
    registry.register("net", SPEC, RunOptions(device="cpu", precision=Precision.FLOAT32))
    network, sizes = registry.get("net")._runner._network, []
    forward = network.forward

    def limited(modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        if len(prepared) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(prepared))
        return forward(modality, prepared)

    network.forward = limited  # type: ignore[method-assign]
    outcomes = registry.embed([EmbedRequest(Image(PHOTO), ["net"])] * 16, Priority.BULK)
    if fits:
        assert all(isinstance(each, dict) for each in outcomes)
        assert sum(sizes) == 16
        assert max(sizes) <= fits
    else:
        assert {str(each) for each in outcomes} == {
            "model 'net': the memory of cpu does not hold a batch of 1"
        }
        assert {type(each) for each in outcomes} == {ResourceExhaustedError}
