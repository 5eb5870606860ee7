"""Photographs as cameras and web shops have them: JPEGs of 640 x 480."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image as PilImage

SIZE = (640, 480)
SOURCES = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "hubble_deep_field.jpg")


def write_photos(folder: Path, count: int) -> None:
    """Write JPEGs of random parts of scikit-image's photographs, all different."""
    random = np.random.default_rng(0)
    packaged = Path(skimage.data.__file__).parent
    sources = [PilImage.open(packaged / name).convert("RGB") for name in SOURCES]
    for number in range(count):
        source = sources[number % len(sources)]
        height = int(source.height * random.uniform(0.5, 0.9))
        width = min(height * SIZE[0] // SIZE[1], source.width)
        left, top = random.integers(source.width - width + 1), random.integers(source.height - height + 1)
        part = source.resize(SIZE, PilImage.Resampling.BICUBIC, (left, top, left + width, top + height))
        part.save(folder / f"{number:04}.jpg", quality=90)
