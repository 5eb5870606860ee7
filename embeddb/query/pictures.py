"""Pictures in whatever form they are given, and boxes in them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from embeddb.errors import InvalidArgumentError

__all__ = [
    "Box",
    "as_box",
    "as_rgb",
    "cut_out",
    "image_source",
]

Box = tuple[int, int, int, int]

MAX_16_BITS = 65_535.0


def cut_out(image: PIL.Image.Image, box: Sequence[int]) -> PIL.Image.Image:
    """The part of an upright picture inside a box (see `Image`).

    Raises:
        InvalidArgumentError: the box does not lie inside it.
    """
    width, height = image.size
    left, top, right, bottom = as_box(box, f"{width} x {height}")
    if right > width or bottom > height:
        raise _bad_box(box, f"{width} x {height}")
    return image.crop((left, top, right, bottom))


def as_box(box: Sequence[int], inside: str) -> Box:
    """Return the box as four integers: left, top, right, bottom in pixels, none of them empty or reversed.

    Args:
        box: what was given.
        inside: what it must lie in, for the message.

    Raises:
        InvalidArgumentError: it is none.
    """
    whole = isinstance(box, Sequence | np.ndarray) and len(box) == 4
    whole = whole and all(isinstance(n, int | np.integer) for n in box)
    # No image is larger than what four bytes hold, which is how a box is sent.
    if not whole or not (0 <= box[0] < box[2] < 1 << 32 and 0 <= box[1] < box[3] < 1 << 32):
        raise _bad_box(box, inside)
    left, top, right, bottom = (int(n) for n in box)
    return left, top, right, bottom


def _bad_box(box: Sequence[int], inside: str) -> InvalidArgumentError:
    allowed = f"must be left, top, right, bottom in pixels, inside {inside}"
    return InvalidArgumentError("box", tuple(box) if isinstance(box, Sequence) else box, allowed)


def as_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """A picture as 8-bit RGB, as a viewer shows it: what is transparent is laid on white.

    Grey of 16 bits is scaled from its whole range. Nobody uses the whole range of 32 bits or of floating
    point: of these what lies between 0 and the largest value is scaled, and what is below 0 is black.

    Raises:
        InvalidArgumentError: values are not finite.
    """
    if image.mode.startswith("I;16"):
        # Here as below, Pillow's own conversion clips at 255, which turns the picture white.
        return _grey(np.asarray(image) / MAX_16_BITS)
    if image.mode in ("I", "F"):
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise InvalidArgumentError("image", "pixels that are infinite or NaN", "must be finite")
        largest = float(values.max())
        return _grey(np.maximum(values, 0.0) / (largest if largest > 0.0 else 1.0))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = PIL.Image.new("RGBA", layered.size, "white")
        return PIL.Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _grey(shares: npt.NDArray[np.float64]) -> PIL.Image.Image:
    """Brightnesses (h, w) from 0 to 1 as a picture."""
    return PIL.Image.fromarray(np.rint(shares * 255.0).astype(np.uint8)).convert("RGB")


def image_source(source: object) -> str | bytes:
    """Return a path as a string and all else as an encoded image: bytes as they are, pixels without loss.

    Raises:
        InvalidArgumentError: it is none: of arrays, uint8 of (h, w) or (h, w, 3 or 4) is taken; or a PIL
            image's file is damaged.
    """
    match source:
        case str() | Path():
            return str(source)
        case bytes():
            if not source:
                raise InvalidArgumentError("image", source, "must be an encoded image")
            return source
        case PIL.Image.Image():
            return _encoded(source)
        case np.ndarray():
            channels_fit = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (3, 4))
            if source.dtype != np.uint8 or not channels_fit or source.size == 0:
                given = f"{source.dtype} array of shape {source.shape}"
                raise InvalidArgumentError("image", given, "must be uint8 (h, w) or (h, w, 3 or 4)")
            return _encoded(PIL.Image.fromarray(source))
        case _:
            allowed = "must be a path, bytes, a PIL image or a numpy array"
            raise InvalidArgumentError("image", type(source).__name__, allowed)


def _encoded(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    try:
        # A PNG of it would not say which way is up.
        upright = PIL.ImageOps.exif_transpose(image)
        if upright.mode in ("I", "F"):
            upright.save(buffer, format="TIFF")  # PNG has 16 bits at most.
            return buffer.getvalue()
        if upright.mode not in ("1", "L", "LA", "I;16", "I;16B", "P", "RGB", "RGBA"):
            upright = as_rgb(upright)
        # Level 1: these bytes are read once or twice, so time matters more than the last percents of size.
        upright.save(buffer, format="PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as error:
        # What was opened lazily is read here.
        raise InvalidArgumentError("image", type(image).__name__, f"cannot be decoded: {error}") from None
    return buffer.getvalue()
