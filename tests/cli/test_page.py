"""The page of answers: self-contained, escaped, with its operands and a contact sheet."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from embeddb.errors import InvalidArgumentError
from embeddb.query import Between, Hit, Image, Item, Prediction, StoredItem, Text, Vector, unit
from embeddb_client.page import THUMBNAIL, Answer, write_page

SCRIPT = '<script>alert("x")</script>'


def picture(width: int = 900, height: int = 600, **save: object) -> Image:
    buffer = io.BytesIO()
    PilImage.fromarray(np.full((height, width, 3), 90, np.uint8)).save(buffer, "JPEG", **save)
    return Image(buffer.getvalue())


def shown_pictures(page: str) -> list[PilImage.Image]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [PilImage.open(io.BytesIO(base64.b64decode(each))) for each in found]


def written(path: Path, *answers: Answer, **named: object) -> str:
    write_page(path / "page.html", "A page", {"": answers}, **named)
    return (path / "page.html").read_text(encoding="utf-8")


def test_nothing_that_was_stored_or_typed_becomes_markup(tmp_path: Path) -> None:
    item = StoredItem(SCRIPT, payload=Text(SCRIPT), predictions={"m": [Prediction(SCRIPT, 0.5)]})
    expression = Text(SCRIPT) + Item(SCRIPT) - unit(Text(SCRIPT) + Image(f"{SCRIPT}.jpg"))
    answer = Answer(expression, [Hit(item, 0.5)], SCRIPT, SCRIPT, SCRIPT)
    write_page(tmp_path / "page.html", SCRIPT, {SCRIPT: [answer]}, SCRIPT)
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert 'alert("x")' not in page
    assert page.count("&lt;script&gt;") > 10


def test_operands_are_drawn_with_their_signs_and_weights(tmp_path: Path) -> None:
    expression = (
        Image(picture().read()) - 0.5 * Text("a cat") + Item("seen") + unit(Item("unseen") - Vector([1, 2]))
    )
    page = written(tmp_path, Answer(expression, []), pictures={"seen": picture()})
    assert re.findall(r'class="sign">([^<]+)<', page) == ["− 0.5 ×", "+", "+", "unit (", "−", ")"]
    assert re.findall(r'class="words">([^<]+)<', page) == ["“a cat”", "unseen", "Vector([1, 2])"]
    assert [shown.size for shown in shown_pictures(page)] == [(360, 240)] * 2
    assert "Nothing was found." in page
    page = written(tmp_path, Answer(Between(Text("a"), Item("seen"), 0.25), []), pictures={"seen": picture()})
    assert re.findall(r'class="sign">([^<]+)<', page) == ["between (", "0.25 →", ")"]
    assert len(shown_pictures(page)) == 1


def test_a_contact_sheet_of_all_hits(tmp_path: Path) -> None:
    hits = [Hit(StoredItem(f"{n}.jpg", payload=picture(600, 900)), 1 - n / 20) for n in range(30)]
    page = written(tmp_path, Answer(Text("many"), hits))
    assert [max(shown.size) for shown in shown_pictures(page)] == [THUMBNAIL] * 30
    assert re.findall(r'class="score">([^<]+)<', page) == [f"{hit.score:.3f}" for hit in hits]
    widths = [float(each) for each in re.findall(r'style="width: ([\d.]+)%"', page)]
    assert (widths[0], widths[-1]) == (100, 0)
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_what_cannot_be_shown_is_named(tmp_path: Path) -> None:
    hits = [
        Hit(StoredItem("broken", payload=Image(b"no picture")), 0.9),
        Hit(StoredItem("words", payload=Text("words that were stored")), 0.8),
        Hit(StoredItem("features"), 0.7),
    ]
    page = written(tmp_path, Answer(Image("/missing/picture.jpg"), hits))
    assert shown_pictures(page) == []
    assert re.findall(r'class="blank">([^<]+)<', page) == ["broken", "words that were stored", "features"]
    assert re.findall(r'class="words">([^<]+)<', page) == ["picture.jpg"]


def test_photographs_are_upright(tmp_path: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6  # Orientation: turned by a quarter.
    turned = Hit(StoredItem("turned", payload=picture(900, 600, exif=exif)), 1.0)
    assert shown_pictures(written(tmp_path, Answer(Text("a"), [turned])))[0].size == (240, 360)


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"page: .* cannot be written: No such file"):
        write_page(tmp_path / "missing" / "page.html", "A page", {})


def test_pictures_are_shown_as_models_see_them(tmp_path: Path) -> None:
    """Not white where they have 16 bits, and not black where they are transparent."""
    grey = Image(PilImage.fromarray(np.full((40, 60), 30_000, np.uint16)))
    clear = Image(PilImage.new("RGBA", (60, 40)))
    for image, brightness in ((grey, 117), (clear, 255)):
        (shown,) = shown_pictures(written(tmp_path, Answer(image, [])))
        assert np.abs(np.asarray(shown, np.int16) - brightness).max() <= 2
