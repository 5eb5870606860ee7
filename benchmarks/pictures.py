"""A folder of pictures as a collection begins: half of them small drawings, half photographs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from photos import write_photos
from PIL import Image as PilImage

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
"""Debian's package dataset-fashion-mnist."""
HEADER = 16
SIDE = 28


def write_pictures(folder: Path, count: int) -> None:
    """Write `count` pictures: as many Fashion-MNIST as PNG as photographs as JPEG."""
    drawings = count // 2
    pixels = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=HEADER)
    for number, drawing in enumerate(pixels.reshape(-1, SIDE, SIDE)[:drawings]):
        PilImage.fromarray(drawing).save(folder / f"fashion-{number:05}.png")
    write_photos(folder, count - drawings)
