"""Resizing by torch beside Pillow's, and where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image as PilImage
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from embeddb.models.resizing import CAPABILITIES, quick_resize
from embeddb.models.runner import Runner
from embeddb.query import Precision, RunOptions
from tests.models.networks import Means

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in CAPABILITIES, reason="Pillow is not slower here"
)

LENGTHS = st.integers(1, 90)
PICTURES = st.builds(
    lambda height, width, seed: np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8),
    *(LENGTHS, LENGTHS, st.integers(0, 1000)),
) | hnp.arrays(np.uint8, st.tuples(LENGTHS, LENGTHS, st.just(3)))
FILTERS = {
    InterpolationMode.BILINEAR: PilImage.Resampling.BILINEAR,
    InterpolationMode.BICUBIC: PilImage.Resampling.BICUBIC,
}


@given(PICTURES, LENGTHS, LENGTHS, st.sampled_from(list(FILTERS)))
def test_it_is_pillows_width_and_then_height_but_for_rounding(
    pixels: np.ndarray, height: int, width: int, interpolation: InterpolationMode
) -> None:
    resize = quick_resize(transforms.Compose([transforms.Resize((height, width), interpolation)]))
    assert resize is not None
    picture = PilImage.fromarray(pixels)
    resample = FILTERS[interpolation]
    by_pillow = picture.resize((width, picture.height), resample).resize((width, height), resample)
    given = np.asarray(resize(picture), np.int16)
    assert given.shape == (height, width, 3)
    assert np.abs(given - np.asarray(by_pillow, np.int16)).max() <= 2


@given(st.tuples(LENGTHS, LENGTHS), LENGTHS | st.tuples(LENGTHS, LENGTHS))
def test_nothing_is_left_to_resize(length: tuple[int, int], size: Any) -> None:
    step = transforms.Resize(size)
    resize = quick_resize(transforms.Compose([step]))
    assert resize is not None
    resized = resize(PilImage.new("RGB", length))
    assert step(resized) is resized


def open_clip_transform(resize_mode: Any) -> Any:
    return image_transform_v2(PreprocessCfg(resize_mode=resize_mode), is_train=False)


@pytest.mark.parametrize(
    "transform",
    [
        open_clip_transform("shortest"),
        open_clip_transform("squash"),
        torchvision.models.ResNet50_Weights.DEFAULT.transforms(),
        torchvision.models.ViT_B_16_Weights.DEFAULT.transforms(),
    ],
)
def test_transforms_of_libraries_make_nearly_the_same_of_it(transform: Any) -> None:
    resize = quick_resize(transform)
    assert resize is not None
    picture = PilImage.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    plain, quick = transform(picture), transform(resize(picture))
    assert plain.shape == quick.shape
    # 2 of 255, by the least of the standard deviations.
    assert (plain - quick).abs().max() <= 2 / 255 / 0.22
    assert (plain != quick).float().mean() < 0.02


@pytest.mark.parametrize(
    "transform",
    [
        open_clip_transform("longest"),
        transforms.Compose([transforms.Resize(64, max_size=80)]),
        transforms.Compose([transforms.Resize(64, InterpolationMode.NEAREST)]),
        transforms.Compose([transforms.CenterCrop(64), transforms.Resize(64)]),
        transforms.ToTensor(),
    ],
)
def test_other_transforms_stay_pillows(transform: Any) -> None:
    assert quick_resize(transform) is None


class Resizing(Means):
    """Says that it resizes, and notes how wide the pictures are that it prepares."""

    def __init__(self) -> None:
        super().__init__()
        self.widths: list[int] = []

    def resize(self, picture: PilImage.Image) -> PilImage.Image:
        return picture.resize((5, 5))

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        if isinstance(content, PilImage.Image):
            self.widths.append(content.width)
        return super().prepare(content)


@pytest.mark.parametrize(("precision", "width"), [(Precision.BFLOAT16, 5), (Precision.FLOAT32, 8)])
def test_it_is_used_at_reduced_precision_and_texts_pass(precision: Precision, width: int) -> None:
    network = Resizing()
    runner = Runner("resizing", network, RunOptions(precision=precision), 4, {})
    network.widths.clear()
    runner.prepare(PilImage.new("RGB", (8, 8)))
    runner.prepare("a text")
    assert network.widths == [width]
    runner.close()
