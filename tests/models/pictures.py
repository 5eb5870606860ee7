"""Pictures that a transform can get wrong, and how a user of a model's own library would open them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image as PilImage
from PIL import ImageOps

import embeddb
from embeddb.database import Database

Encode = Callable[[PilImage.Image], torch.Tensor]

SIDEWAYS = 6  # EXIF: the camera was turned, and the picture is to be turned back by 90 degrees


def _pictures() -> dict[str, bytes]:
    folder = Path(skimage.data.__file__).parent
    cat = PilImage.open(folder / "chelsea.png").convert("RGB")
    cup = PilImage.open(folder / "coffee.png").convert("RGB")
    exif = PilImage.Exif()
    exif[0x0112] = SIDEWAYS
    return {
        "photograph": _encoded(cat, "PNG"),
        "jpeg": _encoded(cup, "JPEG", quality=90),
        "resized down": _encoded(cup.resize((97, 71)), "PNG"),
        "resized up": _encoded(cat.resize((1024, 683)), "PNG"),
        "cropped tall": _encoded(cup.crop((120, 0, 240, 400)), "PNG"),
        "cropped wide": _encoded(cat.crop((0, 100, 451, 180)), "PNG"),
        "grayscale": _encoded(cup.convert("L"), "PNG"),
        "rotated by EXIF": _encoded(cat, "JPEG", quality=90, exif=exif),
    }


def _encoded(image: PilImage.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


PICTURES: Mapping[str, bytes] = _pictures()


def opened(data: bytes) -> PilImage.Image:
    """A picture as it is meant to be seen."""
    return ImageOps.exif_transpose(PilImage.open(io.BytesIO(data))).convert("RGB")


def check_images(database: Database, model: str, library: Encode) -> None:
    """A model's features of all pictures are those of its own library.

    Args:
        library: a PIL image to (d,) features, in float32.
    """
    with torch.inference_mode():
        expected = torch.stack([library(opened(data)) for data in PICTURES.values()])
    given = [database.embed(model, embeddb.Image(data)).features for data in PICTURES.values()]
    check_agree(np.stack(given), expected)


def check_agree(given: np.ndarray, expected: torch.Tensor) -> None:
    """Features agree, row by row: cosine at least 0.9999, and of the same length.

    The features of an untrained network are nearly all alike, so they have to agree without their mean too.
    """
    # In float64, for some networks' features are as small as 1e-9.
    ours, theirs = torch.from_numpy(given).double(), expected.double()
    assert _cosines(ours, theirs).min() >= 0.9999
    torch.testing.assert_close(ours.norm(dim=1), theirs.norm(dim=1), rtol=1e-3, atol=0)
    mean = theirs.mean(dim=0)
    assert _cosines(ours - mean, theirs - mean).min() >= 0.999


def _cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one * other).sum(dim=1) / (one.norm(dim=1) * other.norm(dim=1))
