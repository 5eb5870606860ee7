"""The loops that people write by hand to embed a folder of photographs.

embed_service.py starts it, and says when which loop is to run; in between nothing does, and the networks stay
loaded.

The naive one takes an image at a time, in float32. The good one decodes on as many threads as there are cores
while the model runs the batch before, in batches of 32, channels last, at the precision given.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import clock
import open_clip
import orders
import timm
import timm.data
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image as PilImage

BATCH = 32
Transform = Callable[[PilImage.Image], torch.Tensor]
Loop = Generator[int, None, None]


def vit() -> tuple[torch.nn.Module, Transform]:
    network: Any = open_clip.create_model("ViT-B-32").eval()
    return network.visual, image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)


def resnet() -> tuple[torch.nn.Module, Transform]:
    network: Any = timm.create_model("resnet50", num_classes=0).eval()
    return network, timm.data.create_transform(**timm.data.resolve_model_data_config(network))


MODELS = {"ViT-B/32": vit, "ResNet-50": resnet}


def naive(network: torch.nn.Module, transform: Transform, files: Iterator[Path]) -> Loop:
    """Embed one image after the other; yields how many each time."""
    for file in files:
        network(transform(PilImage.open(file).convert("RGB"))[None]).numpy()
        yield 1


def good(network: torch.nn.Module, transform: Transform, files: Iterator[Path]) -> Loop:
    """Embed batches while the next one is decoded; yields how many each time."""
    precision = next(network.parameters()).dtype

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


class Loops:
    """All loops of one model, each with a network of its own.

    Args:
        model: one of `MODELS`.
        photos: a folder of nothing else.
    """

    def __init__(self, model: str, photos: Path) -> None:
        files = sorted(photos.iterdir())
        network, transform = MODELS[model]()
        self._loops: dict[str, Callable[[], Loop]] = {
            "naive, float32": lambda: naive(network, transform, itertools.cycle(files))
        }
        for precision in (torch.float32, torch.bfloat16):
            own = copy.deepcopy(network).to(precision).to(memory_format=torch.channels_last)
            name = f"good, {str(precision).removeprefix('torch.')}"
            self._loops[name] = partial(good, own, transform, itertools.cycle(files))

    def names(self) -> list[str]:
        """What they are called."""
        return list(self._loops)

    def rate(self, name: str, seconds: float) -> float:
        """Images a second of a loop from its second step on, for `seconds` and until the step's end."""
        with torch.inference_mode(), contextlib.closing(self._loops[name]()) as loop:
            next(loop)
            return clock.per_second(partial(next, loop), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--orders", type=int, required=True, help="the file descriptor that they come from")
    options = parser.parse_args()
    orders.obey(options.orders, Loops(options.model, options.photos))


if __name__ == "__main__":
    main()
