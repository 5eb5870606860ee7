"""Search results as one self-contained HTML page: the question, its operands, and the pictures found."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from PIL import Image as PilImage
from PIL import ImageOps

from embeddb.errors import InvalidArgumentError
from embeddb.query import Expression, Hit, Image, Item, Operand, Text, Unit

__all__ = ["Answer", "write_page"]

THUMBNAIL = 360
"""Longest side of a picture on the page, in pixels."""


@dataclass(frozen=True)
class Answer:
    """One question and what was found.

    Attributes:
        title: the question as it was typed, or in words.
        expression: what was asked.
        hits: with their payloads, if they are to be seen.
        note: a line that says what one sees.
        code: the question as the reader would write it.
    """

    title: str
    expression: Expression
    hits: Sequence[Hit]
    note: str = ""
    code: str = ""


@dataclass(frozen=True)
class _Tile:
    """A picture, or words in its place, with what is written below."""

    picture: str | None
    words: str
    sign: str = ""
    caption: str = ""
    seen: str = ""
    score: float | None = None


def write_page(
    path: Path,
    title: str,
    answers: Sequence[Answer],
    intro: str = "",
    pictures: Mapping[str, Image] | None = None,
) -> None:
    """Write a page that needs no other file.

    Args:
        path: of the file; its folder has to exist.
        title: of the page.
        answers: in the order in which they are shown.
        intro: a few sentences below the title.
        pictures: of items that expressions name, by id; without its picture an item is shown by its id.

    Raises:
        InvalidArgumentError: the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embeddb_client"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    shown = [
        (answer, list(_operands(answer.expression, pictures or {})), list(map(_hit, answer.hits)))
        for answer in answers
    ]
    text = environment.get_template("page.html").render(title=title, intro=intro, answers=shown)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError("page", str(path), f"cannot be written: {error.strerror}") from None


def _operands(expression: Expression, pictures: Mapping[str, Image]) -> Iterator[_Tile]:
    for place, (weight, operand) in enumerate(expression.terms):
        sign = "−" if weight < 0 else "+" if place else ""
        size = "" if abs(weight) == 1 else f" {abs(weight):g} ×"
        yield _operand(operand, sign + size, pictures)


def _operand(operand: Operand, sign: str, pictures: Mapping[str, Image]) -> _Tile:
    match operand:
        case Image():
            return _Tile(_thumbnail(operand), "a picture", sign)
        case Text(text):
            return _Tile(None, f"“{text}”", sign)
        case Item(item_id):
            picture = _thumbnail(pictures[item_id]) if item_id in pictures else None
            return _Tile(picture, item_id, sign, caption=item_id)
        case Unit(expression):
            return _Tile(None, f"({expression!r})", sign)
    return _Tile(None, repr(operand), sign)


def _hit(hit: Hit) -> _Tile:
    payload = hit.item.payload
    predictions = [found[0] for found in hit.item.predictions.values() if found]
    return _Tile(
        picture=_thumbnail(payload) if isinstance(payload, Image) else None,
        words=payload.text if isinstance(payload, Text) else "",
        caption=hit.id,
        seen=", ".join(f"{each.label} {each.score:.0%}" for each in predictions),
        score=hit.score,
    )


def _thumbnail(image: Image) -> str | None:
    """The picture as a small JPEG in a data URI; None for one that this machine cannot show."""
    try:
        with PilImage.open(io.BytesIO(image.read())) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, PilImage.DecompressionBombError, InvalidArgumentError):
        return None
    upright.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    upright.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
