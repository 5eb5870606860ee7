"""Fashion-MNIST, and a folder of pictures as a collection begins: half its drawings, half photographs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
from photos import write_photos
from PIL import Image as PilImage

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Debian's package dataset-fashion-mnist."""
HEADER = 16
SIDE = 28


def drawings(part: str = "train") -> npt.NDArray[np.uint8]:
    """The drawings of Fashion-MNIST, (n, 28, 28): 60,000 of the part "train", 10,000 of "t10k"."""
    file = FASHION / f"{part}-images-idx3-ubyte.gz"
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=HEADER)
    return pixels.reshape(-1, SIDE, SIDE)


def write_pictures(folder: Path, count: int) -> None:
    """Write `count` pictures: as many Fashion-MNIST as PNG as photographs as JPEG."""
    half = count // 2
    for number, drawing in enumerate(drawings()[:half]):
        PilImage.fromarray(drawing).save(folder / f"fashion-{number:05}.png")
    write_photos(folder, count - half)
