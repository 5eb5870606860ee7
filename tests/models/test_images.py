"""Pictures as they are meant to be seen, whatever file they come in; and files that are no pictures."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageOps

from embeddb.batching import Priority
from embeddb.errors import InvalidArgumentError
from embeddb.models import EmbedRequest, Registry, images
from embeddb.query import Image
from tests.conftest import PHOTOS
from tests.models.conftest import MakeRegistry

MAX_BYTES, MAX_PIXELS = 1 << 22, 1 << 22
EXIF_ORIENTATION = 0x0112

with PilImage.open(PHOTOS / "chelsea.png") as _photo:
    PHOTO = _photo.convert("RGB").resize((60, 40))


def encoded(image: PilImage.Image, format_name: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    image = images.decode(data, MAX_BYTES, MAX_PIXELS)
    assert image.mode == "RGB"
    return np.asarray(image, np.int16)


def difference(data: bytes, expected: PilImage.Image) -> float:
    """The mean difference of a pixel to what is expected, 0 to 255."""
    return float(np.abs(decoded(data) - np.asarray(expected, np.int16)).mean())


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "GIF", "AVIF"])
def test_every_format(format_name: str) -> None:
    lossless = {"WEBP": {"lossless": True}}.get(format_name, {})
    tolerance = {"JPEG": 6, "GIF": 6, "AVIF": 6}.get(format_name, 0)
    assert difference(encoded(PHOTO, format_name, **lossless), PHOTO) <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = PilImage.Exif()
    exif[EXIF_ORIENTATION] = orientation
    lying = encoded(PHOTO, "PNG", exif=exif)
    with PilImage.open(io.BytesIO(lying)) as image:
        assert difference(lying, ImageOps.exif_transpose(image)) == 0
    assert decoded(lying).shape[:2] == ((40, 60) if orientation < 5 else (60, 40))


def test_cmyk() -> None:
    assert difference(encoded(PHOTO.convert("CMYK"), "JPEG", quality=95), PHOTO) < 4


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palettes(mode: str) -> None:
    image = PHOTO.convert(mode)
    assert difference(encoded(image), image.convert("RGB")) == 0


def test_what_is_transparent_is_white() -> None:
    clear = PHOTO.convert("RGBA")
    clear.putalpha(0)
    half = PHOTO.convert("LA")
    half.putalpha(128)
    palette = PilImage.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    white = PilImage.new("RGB", PHOTO.size, "white")
    assert difference(encoded(clear), white) == 0
    assert difference(encoded(half), PilImage.blend(white, PHOTO.convert("L").convert("RGB"), 0.5)) < 2
    assert difference(encoded(palette, transparency=1), PilImage.new("RGB", (4, 4), "white")) == 0
    assert difference(encoded(palette), PilImage.new("RGB", (4, 4), "red")) == 0


def test_16_bits_are_scaled_and_not_clipped() -> None:
    grey = np.asarray(PHOTO.convert("L"), np.uint16)
    image = PilImage.fromarray(grey * 257)
    assert image.mode == "I;16"
    for format_name in ("PNG", "TIFF"):
        assert difference(encoded(image, format_name), PHOTO.convert("L").convert("RGB")) <= 1


def test_floating_point_is_scaled_to_its_largest_value() -> None:
    image = PilImage.fromarray(np.array([[0.0, 0.5], [0.25, 1.0]], np.float32))
    assert decoded(encoded(image, "TIFF"))[:, :, 0].tolist() == [[0, 128], [64, 255]]


@pytest.mark.parametrize("largest", [200, 4_094, 65_534, 2_000_000_000])
def test_32_bits_are_scaled_to_their_largest_value(largest: int) -> None:
    values = np.array([[0, largest // 2], [-largest, largest]], np.int32)
    assert decoded(encoded(PilImage.fromarray(values), "TIFF"))[:, :, 0].tolist() == [[0, 128], [0, 255]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    image = PilImage.fromarray(np.array([[0.5, value]], np.float32))
    with pytest.raises(InvalidArgumentError, match="pixels that are infinite or NaN"):
        decoded(encoded(image, "TIFF"))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32, ">u2"])
def test_pixels_that_are_given_are_seen_as_those_of_a_file_are(kind: str | type) -> None:
    image = PilImage.fromarray((np.asarray(PHOTO.convert("L")) * 257.0).astype(kind))
    given = decoded(Image(image).read())
    assert (given == decoded(encoded(image, "TIFF"))).all()
    assert given.std() > 20  # Neither black nor white.


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame(format_name: str) -> None:
    frames = [PilImage.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:], duration=100)
    assert difference(data, frames[0]) < 4


def test_limits_are_checked_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = encoded(PilImage.new("1", (12_000, 12_000)))
    assert len(bomb) < 100_000

    def load(self: PilImage.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(
        InvalidArgumentError, match=r"'12000 x 12000 pixels' given, must be at most 100,000,000"
    ):
        images.decode(bomb, MAX_BYTES, 100_000_000)
    with pytest.raises(InvalidArgumentError, match="bytes given, must be at most 1,000 bytes"):
        images.decode(bomb, 1_000, 10**9)


def test_the_limit_of_pixels_is_checked_before_an_avif_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: PilImage.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.AvifImagePlugin.AvifImageFile.load", load)
    with pytest.raises(InvalidArgumentError, match="'60 x 40 pixels' given, must be at most 2,399 pixels"):
        images.decode(encoded(PHOTO, "AVIF"), MAX_BYTES, 2_399)


@pytest.mark.parametrize(("allowed", "said"), [(100_000_000, "100,000,000"), (10**9, "178,956,970")])
def test_a_bomb_is_refused_by_the_limit_that_counts(allowed: int, said: str) -> None:
    bomb = encoded(PilImage.new("1", (14_000, 14_000)))
    with pytest.raises(InvalidArgumentError, match=f"must be at most {said} pixels"):
        images.decode(bomb, MAX_BYTES, allowed)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "AVIF"])
def test_a_truncated_file_is_refused(format_name: str) -> None:
    data = encoded(PHOTO, format_name)
    for kept in (10, len(data) // 2, 3 * len(data) // 4):
        with pytest.raises(InvalidArgumentError, match=r"^image: "):
            decoded(data[:kept])


@pytest.mark.parametrize("data", [b"x", b"not an image at all", b"<svg/>", b"%PDF-1.7"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="must be one of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF"):
        decoded(data)


@given(st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "AVIF"]), st.data())
def test_damaged_bytes_give_a_picture_or_a_clear_error(format_name: str, data: st.DataObject) -> None:
    damaged = bytearray(encoded(PHOTO.resize((12, 8)), format_name))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    # Any other error fails the test.
    with contextlib.suppress(InvalidArgumentError):
        assert decoded(bytes(damaged)).ndim == 3


def test_an_image_is_decoded_once_for_several_models(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, network = make_registry()
    other = registry.register("other", {"loader": "means"}, registry.info("means").options)
    times: list[int] = []
    decode = images.decode

    def counting(data: bytes, *limits: int) -> PilImage.Image:
        times.append(len(data))
        return decode(data, *limits)

    monkeypatch.setattr("embeddb.models.contents.decode", counting)
    request = EmbedRequest(Image(encoded(PHOTO)), ["means", other.name])
    (outcome,) = Registry.embed(registry, [request], Priority.QUERY)
    assert isinstance(outcome, dict)
    assert outcome["means"].features.tolist() == outcome["other"].features.tolist()
    assert len(times) == 1
    assert len(network.runs) == 1


def test_a_line_of_pixels_is_refused() -> None:
    line = encoded(PilImage.new("RGB", (20_000, 1)))
    with pytest.raises(InvalidArgumentError, match="20000 x 1 pixels' given, must not be"):
        images.decode(line, MAX_BYTES, MAX_PIXELS)
