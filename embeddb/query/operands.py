"""Operands that stand for themselves, an image, a text, an item or a vector, and what one is made of."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from embeddb.arguments import is_utf8
from embeddb.errors import InvalidArgumentError
from embeddb.query.expressions import Expression, Operand, check_size, leaves, short
from embeddb.query.names import check_id
from embeddb.query.pictures import Box, as_box, cut_out, image_source

__all__ = [
    "MAX_TEXT",
    "Floats",
    "Image",
    "Item",
    "Text",
    "Vector",
    "as_content",
    "as_expression",
    "as_expressions",
    "as_vector",
    "as_vectors",
    "item_ids",
]

MAX_TEXT = 1_000_000
"""Most characters of a text. Encoders read a few hundred words; who stores more means several items."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, init=False, repr=False)
class Image(Operand):
    """An image: a path, encoded bytes (JPEG, PNG, WebP, ...), a PIL image or an array.

    Arrays are (height, width) or (height, width, 3 or 4) uint8; they and PIL images are kept as PNG, or
    as TIFF where they have more than 16 bits, which loses nothing. A path is read when the bytes are needed,
    not here.

    Args:
        source: the picture.
        box: left, top, right and bottom of the part that is meant, in pixels of the picture as it is seen,
            upright as its EXIF orientation says; right and bottom are the first ones outside. Who embeds or
            stores the image cuts it out; `crop` does so here and now.

    Raises:
        InvalidArgumentError: the source is of another type, or an array of another shape or dtype; or the
            box is not four whole numbers that enclose something.
    """

    source: str | bytes
    box: Box | None = None

    def __init__(
        self,
        source: str | Path | bytes | PIL.Image.Image | npt.NDArray[np.uint8],
        box: Sequence[int] | None = None,
    ) -> None:
        object.__setattr__(self, "source", image_source(source))
        object.__setattr__(self, "box", None if box is None else as_box(box, "the image"))

    def read(self) -> bytes:
        """The encoded bytes, of the whole picture where there is a box.

        Raises:
            InvalidArgumentError: the file cannot be read or is empty.
        """
        if isinstance(self.source, bytes):
            return self.source
        try:
            data = Path(self.source).read_bytes()
        except OSError as error:
            raise InvalidArgumentError("image", self.source, f"cannot be read: {error.strerror}") from None
        if not data:
            raise InvalidArgumentError("image", self.source, "the file is empty")
        return data

    def crop(self, box: Sequence[int]) -> Image:
        """The part of the image inside a box, as an image of its own: an operand, or an item's payload.

        It is cut out here, so that nothing else is sent or stored, and kept without loss.

        Args:
            box: as in `Image`; inside the image's own box, if it has one, and counted from its corner.

        Raises:
            InvalidArgumentError: the image cannot be read, or the box does not lie inside it.
        """
        try:
            with PIL.Image.open(io.BytesIO(self.read())) as image:
                upright = PIL.ImageOps.exif_transpose(image)
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            raise InvalidArgumentError("image", self.source, f"cannot be decoded: {error}") from None
        whole = upright if self.box is None else cut_out(upright, self.box)
        return Image(cut_out(whole, box))

    def __repr__(self) -> str:
        shown = f"<{len(self.source):,} bytes>" if isinstance(self.source, bytes) else repr(self.source)
        return f"Image({shown})" if self.box is None else f"Image({shown}, box={self.box})"


@dataclass(frozen=True, repr=False)
class Text(Operand):
    """A text, encoded by a model's text tower.

    Raises:
        InvalidArgumentError: the text is not a string, is blank, or has more than `MAX_TEXT` characters.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip() or not is_utf8(self.text):
            raise InvalidArgumentError("text", self.text, "must be a string of UTF-8 that is not blank")
        if len(self.text) > MAX_TEXT:
            raise InvalidArgumentError(
                "text", f"{len(self.text):,} characters", f"must have at most {MAX_TEXT:,}"
            )

    def read(self) -> bytes:
        """The text in UTF-8."""
        return self.text.encode()

    def __repr__(self) -> str:
        return f"Text({self.text!r})"


@dataclass(frozen=True, repr=False)
class Item(Operand):
    """A stored item, by its id; its features in the space are the operand.

    Raises:
        InvalidArgumentError: the id is not one (see `check_id`).
    """

    id: str

    def __post_init__(self) -> None:
        check_id(self.id)

    def __repr__(self) -> str:
        return f"Item({self.id!r})"


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Vector(Operand):
    """A vector of one's own, in the space's dimension.

    Args:
        values: (d,) numbers, kept as read-only float32.

    Raises:
        InvalidArgumentError: not one-dimensional, empty, or not finite everywhere.
    """

    values: Floats

    def __init__(self, values: npt.ArrayLike) -> None:
        object.__setattr__(self, "values", as_vector("vector", values))

    @classmethod
    def rows(cls, matrix: Floats) -> tuple[Vector, ...]:
        """One vector for each row of a matrix (n, d) float32, which is copied and checked at once.

        Raises:
            InvalidArgumentError: a row is empty, or not finite everywhere.
        """
        return cls._over(matrix.copy())

    @classmethod
    def _over(cls, matrix: Floats) -> tuple[Vector, ...]:
        """As `rows`, of a matrix that nobody else has: the vectors are its own rows."""
        # To count takes less time than `all` does.
        if not matrix.shape[1] or np.count_nonzero(np.isfinite(matrix)) < matrix.size:
            return tuple(map(cls, matrix))  # One of these is refused, and says what is wrong with it.
        matrix.setflags(write=False)
        vectors = []
        for values in matrix:
            vector = cls.__new__(cls)
            object.__setattr__(vector, "values", values)
            vectors.append(vector)
        return tuple(vectors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.values.tobytes())

    def __repr__(self) -> str:
        shown = [short(v) for v in self.values[:4].tolist()]
        if self.values.size > 4:
            return f"Vector([{', '.join(shown)}, ...] of {self.values.size})"
        return f"Vector([{', '.join(shown)}])"


def item_ids(expression: Expression) -> list[str]:
    """The ids of the items that an expression names, each once, in order."""
    return list(dict.fromkeys(leaf.id for leaf in leaves(expression) if isinstance(leaf, Item)))


def as_content(value: object) -> Image | Text:
    """Make an item's payload: a string is a text; a path, bytes, PIL image or uint8 array is an image.

    Raises:
        InvalidArgumentError: it is none of these.
    """
    match value:
        case Image() | Text():
            return value
        case str():
            return Text(value)
        case Path() | bytes() | PIL.Image.Image() | np.ndarray():
            return Image(value)
    allowed = "must be an Image, a Text, a string, a path, bytes, a PIL image or a numpy array"
    raise InvalidArgumentError("item.content", value, allowed)


def as_expression(value: object) -> Expression:
    """Make an expression: as `as_content` does, and a sequence or array of one dimension is a vector.

    Raises:
        InvalidArgumentError: it is nothing that an expression can be made of, has more than `MAX_OPERANDS`,
            or is nested deeper than `MAX_DEPTH`.
    """
    if type(value) is Vector:
        return value
    match value:
        case Expression():
            check_size(value)
            return value
        case list() | tuple():
            return Vector(value)
        case np.ndarray() if value.ndim == 1:
            return Vector(value)
        case str() | Path() | bytes() | PIL.Image.Image() | np.ndarray():
            return as_content(value)
    allowed = "must be an Image, Text, Item, Vector, arithmetic on them, or what makes one of these"
    raise InvalidArgumentError("expression", value, allowed)


def as_expressions(values: Sequence[object] | npt.NDArray[Any]) -> tuple[Expression, ...]:
    """Make expressions: vectors of the rows of an array (n, d) of numbers, otherwise each as `as_expression`.

    Raises:
        InvalidArgumentError: one of them cannot be made.
    """
    if len(values) > 1:
        vectors = [each for each in values if _is_floats(each) and each.ndim == 1]
        if len(vectors) == len(values) and len({each.shape for each in vectors}) == 1:
            # In one copy, and sooner than `np.stack`, which makes a view of each first.
            return Vector._over(np.concatenate(vectors).reshape(len(vectors), -1))
    return tuple(map(as_expression, values))


def as_vector(field_name: str, values: npt.ArrayLike | Vector) -> Floats:
    """Return a read-only float32 copy of shape (d,); of a `Vector`, its values.

    Raises:
        InvalidArgumentError: it is not one-dimensional, is empty, or is not finite everywhere in float32.
    """
    return values.values if isinstance(values, Vector) else _floats(field_name, values, 1)


def as_vectors(field_name: str, values: npt.ArrayLike) -> Floats:
    """Return a read-only float32 copy of shape (n, d), whose rows are what `as_vector` makes of each.

    Raises:
        InvalidArgumentError: it is not two-dimensional, d is 0, or it is not finite everywhere in float32.
    """
    return _floats(field_name, values, 2)


def _floats(field_name: str, values: npt.ArrayLike, dimensions: int) -> Floats:
    try:
        if _is_floats(values):
            copy = values.copy()
        elif isinstance(values, np.ndarray) and np.iscomplexobj(values):
            # numpy would leave out the imaginary parts.
            raise TypeError
        else:
            # A warning of numbers beyond float32 would say less than what refuses them below.
            with np.errstate(over="ignore"):
                copy = np.array(values, dtype=np.float32, order="C")
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(field_name, values, "must be a sequence of numbers") from None
    if copy.ndim != dimensions or copy.shape[-1] == 0:
        shape = "one-dimensional" if dimensions == 1 else "two-dimensional"
        raise InvalidArgumentError(field_name, f"shape {copy.shape}", f"must be {shape}, not empty")
    # To count takes half the time that `all` does.
    if np.count_nonzero(np.isfinite(copy)) < copy.size:
        _refuse_not_finite(field_name, np.array(values, dtype=np.float64))
    copy.setflags(write=False)
    return copy


def _is_floats(value: object) -> TypeGuard[Floats]:
    # Not of subclasses: in a masked array all is finite that the mask hides.
    return type(value) is np.ndarray and value.dtype == np.float32


def _refuse_not_finite(field_name: str, values: npt.NDArray[np.float64]) -> NoReturn:
    if np.isfinite(values).all():
        largest = float(values.flat[np.abs(values).argmax()])
        allowed = f"must be within ±{np.finfo(np.float32).max:.6g}, which is what float32 holds"
        raise InvalidArgumentError(field_name, largest, allowed)
    given = "NaN or infinity"
    if values.ndim == 2:
        row = int(np.isfinite(values).all(axis=1).argmin())
        given = f"{given} in row {row}"
    raise InvalidArgumentError(field_name, given, "must be finite everywhere")
