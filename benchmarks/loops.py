"""The loops that people write by hand to embed a folder of photographs; embed_service.py starts it.

The naive one takes an image at a time, in float32. The good one decodes on as many threads as there are cores
while the model runs the batch before, in batches of 32, channels last, at the precision given.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import open_clip
import timm
import timm.data
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image as PilImage

BATCH = 32
Transform = Callable[[PilImage.Image], torch.Tensor]


def vit() -> tuple[torch.nn.Module, Transform]:
    network: Any = open_clip.create_model("ViT-B-32").eval()
    return network.visual, image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)


def resnet() -> tuple[torch.nn.Module, Transform]:
    network: Any = timm.create_model("resnet50", num_classes=0).eval()
    return network, timm.data.create_transform(**timm.data.resolve_model_data_config(network))


MODELS = {"ViT-B/32": vit, "ResNet-50": resnet}


def naive(network: torch.nn.Module, transform: Transform, files: Iterator[Path]) -> Iterator[int]:
    """Embed one image after the other; yields how many each time."""
    for file in files:
        network(transform(PilImage.open(file).convert("RGB"))[None]).numpy()
        yield 1


def good(
    network: torch.nn.Module, transform: Transform, files: Iterator[Path], precision: torch.dtype
) -> Iterator[int]:
    """Embed batches while the next one is decoded; yields how many each time."""
    network = network.to(precision).to(memory_format=torch.channels_last)

    def prepare(file: Path) -> torch.Tensor:
        return transform(PilImage.open(file).convert("RGB")).to(precision)

    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def begin() -> list[Any]:
            return [pool.submit(prepare, file) for file in itertools.islice(files, BATCH)]

        following = begin()
        while True:
            batch, following = following, begin()
            stacked = torch.stack([each.result() for each in batch])
            network(stacked.contiguous(memory_format=torch.channels_last)).float().numpy()
            yield len(batch)


def per_second(loop: Iterator[int], seconds: float) -> float:
    """Images a second of a loop that has warmed up."""
    next(loop)
    done, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        done += next(loop)
    return done / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    files = sorted(options.photos.iterdir())
    network, transform = MODELS[options.model]()
    with torch.inference_mode():
        figures = {
            "naive, float32": per_second(naive(network, transform, itertools.cycle(files)), options.seconds)
        }
        for precision in (torch.float32, torch.bfloat16):
            name = f"good, {str(precision).removeprefix('torch.')}"
            loop = good(network, transform, itertools.cycle(files), precision)
            figures[name] = per_second(loop, options.seconds)
            loop.close()
    options.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
