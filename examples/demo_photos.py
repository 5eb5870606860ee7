"""The photographs that scikit-image and scikit-learn carry, by the name that each is stored under."""

from __future__ import annotations

import importlib.util
from pathlib import Path

__all__ = ["photos"]

# All that are pictures of something: no charts, no test patterns, no scanned text.
SCIKIT_IMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
SCIKIT_LEARN = ("china.jpg", "flower.jpg")


def photos() -> dict[str, Path]:
    """The photographs' files by id; ids are the files' names without the ending.

    Raises:
        FileNotFoundError: one is not where the installed package should have it.
    """
    files = [_package("skimage") / "data" / name for name in SCIKIT_IMAGE]
    files += [_package("sklearn") / "datasets" / "images" / name for name in SCIKIT_LEARN]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; install scikit-image and scikit-learn again")
    return {file.stem: file for file in files}


def _package(name: str) -> Path:
    """A package's folder, without the seconds that its import takes."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"{name} is not installed; make demo installs it")
    return Path(found.origin).parent
