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
from embeddb.query import Between, Expression, Hit, Image, Item, Operand, Text, Unit, as_rgb, cut_out

__all__ = ["Answer", "environment", "open_upright", "write_page", "write_text"]

THUMBNAIL = 360
"""Longest side of a picture on the page, in pixels."""


@dataclass(frozen=True)
class Answer:
    """One question and what was found.

    Attributes:
        expression: what was asked.
        hits: with their payloads, if they are to be seen.
        title: the question in words; without one, its operands alone are shown.
        note: a line that says what one sees.
        code: the question as the reader would write it.
    """

    expression: Expression
    hits: Sequence[Hit]
    title: str = ""
    note: str = ""
    code: str = ""


@dataclass(frozen=True)
class _Operand:
    """One operand of the question: a picture, or words in its place, or what the words enclose."""

    sign: str
    words: str = ""
    picture: str | None = None
    inside: Sequence[_Operand] = ()


@dataclass(frozen=True)
class _Found:
    """One picture found, or words in its place, with what is written below."""

    id: str
    score: float
    words: str
    picture: str | None
    seen: str


def write_page(
    path: Path,
    title: str,
    sections: Mapping[str, Sequence[Answer]],
    intro: str = "",
    pictures: Mapping[str, Image] | None = None,
) -> None:
    """Write a page that needs no other file.

    Args:
        path: of the file; its folder has to exist.
        title: of the page.
        sections: answers by the heading above them, which may be empty; both in the order shown.
        intro: a few sentences below the title.
        pictures: of items that expressions name, by id; without its picture an item is shown by its id.

    Raises:
        InvalidArgumentError: the file cannot be written.
    """
    shown = {
        heading: [
            (answer, list(_operands(answer.expression, pictures or {})), list(map(_found, answer.hits)))
            for answer in answers
        ]
        for heading, answers in sections.items()
    }
    write_text(path, environment().get_template("page.html").render(title=title, intro=intro, sections=shown))


def environment() -> jinja2.Environment:
    """The templates, which escape whatever they are given."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("embeddb_client"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_text(path: Path, text: str) -> None:
    """Write a page.

    Raises:
        InvalidArgumentError: the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError("page", str(path), f"cannot be written: {error.strerror}") from None


def _operands(expression: Expression, pictures: Mapping[str, Image]) -> Iterator[_Operand]:
    for place, (weight, operand) in enumerate(expression.terms):
        sign = "−" if weight < 0 else "+" if place else ""
        size = "" if abs(weight) == 1 else f"{abs(weight):g} ×"
        yield _operand(operand, f"{sign} {size}".strip(), pictures)


def _operand(operand: Operand, sign: str, pictures: Mapping[str, Image]) -> _Operand:
    match operand:
        case Image(source):
            name = Path(source).name if isinstance(source, str) else "a picture"
            return _Operand(sign, name, _thumbnail(operand))
        case Text(text):
            return _Operand(sign, f"“{text}”")
        case Item(item_id):
            return _Operand(sign, item_id, _thumbnail(pictures[item_id]) if item_id in pictures else None)
        case Unit(expression):
            return _Operand(sign, "unit", inside=list(_operands(expression, pictures)))
        case Between(start, end, share):
            arrow = _Operand(f"{share:g} →")
            inside = [*_operands(start, pictures), arrow, *_operands(end, pictures)]
            return _Operand(sign, "between", inside=inside)
    return _Operand(sign, repr(operand))


def _found(hit: Hit) -> _Found:
    payload = hit.item.payload
    likeliest = [found[0] for found in hit.item.predictions.values() if found]
    return _Found(
        id=hit.id,
        score=hit.score,
        words=payload.text if isinstance(payload, Text) else hit.id,
        picture=_thumbnail(payload) if isinstance(payload, Image) else None,
        seen=", ".join(f"{each.label} {each.score:.0%}" for each in likeliest),
    )


def open_upright(image: Image) -> PilImage.Image | None:
    """The picture as its camera meant it and models see it; None for one that this machine cannot show."""
    try:
        with PilImage.open(io.BytesIO(image.read())) as picture:
            upright = as_rgb(ImageOps.exif_transpose(picture))
        return upright if image.box is None else cut_out(upright, image.box)
    except (OSError, ValueError, PilImage.DecompressionBombError, InvalidArgumentError):
        return None


def _thumbnail(image: Image) -> str | None:
    """The picture as a small JPEG in a data URI; None for one that this machine cannot show."""
    upright = open_upright(image)
    if upright is None:
        return None
    upright.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    upright.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
