"""The vocabulary: what is stored, what is asked and what is found.

    Image("cat.jpg") - Text("a cat") + 0.5 * Item("sku-42")

is an expression. It means the same in process and through a server: every operand is encoded or looked
up in one model's space, brought to unit length, weighted and summed, and the sum is brought to unit
length again (3CosAdd: Levy & Goldberg, "Linguistic Regularities in Sparse and Explicit Word
Representations", CoNLL 2014). Everything here is frozen data that imports neither torch nor a server.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.options import (
    Arithmetic,
    Combine,
    Diversify,
    Effort,
    Fusion,
    FusionMethod,
    Group,
    KReciprocal,
    choice,
)

__all__ = [
    "DEFAULT_CANDIDATES",
    "DEFAULT_K",
    "MAX_ID_BYTES",
    "MAX_K",
    "MAX_RERANKED",
    "Backfill",
    "BackfillState",
    "Between",
    "Box",
    "CollectionInfo",
    "CollectionSettings",
    "Contribution",
    "Embedding",
    "Encoding",
    "Expression",
    "Hit",
    "Image",
    "Item",
    "ItemPage",
    "Metric",
    "Modality",
    "ModelInfo",
    "Precision",
    "Prediction",
    "PutItem",
    "PutResult",
    "PutStatus",
    "RunOptions",
    "Running",
    "Search",
    "SpaceStats",
    "Stats",
    "StoredItem",
    "Sum",
    "Text",
    "Unit",
    "Vector",
    "View",
    "as_content",
    "as_expression",
    "as_vector",
    "check_id",
    "check_metadata",
    "check_name",
    "cut_out",
    "item_ids",
    "leaves",
    "unit",
]

Floats = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]

MAX_ID_BYTES = 480
"""Longest item id, in bytes of UTF-8 (LMDB keys end at 511)."""
MAX_NAME_LENGTH = 64
"""Longest name of a model or a collection, in characters."""
DEFAULT_K = 10
"""How many hits a search returns unless told."""
MAX_K = 10_000
"""Most hits that one search returns, and most candidates that it scores."""
DEFAULT_CANDIDATES = 200
"""How many candidates are scored anew or re-ranked unless told."""
MAX_RERANKED = 2_000
"""Most candidates of a re-ranking, whose work grows with their square."""


class Modality(StrEnum):
    """What kind of thing an item, an operand or a model's tower is about."""

    IMAGE = "image"
    TEXT = "text"


class Metric(StrEnum):
    """How a collection compares vectors. Scores are similarities: larger is nearer, for each of them.

    COSINE: the cosine of the angle. INNER_PRODUCT: of the vectors as they are. L2: minus the Euclidean
    distance of the vectors as they are.
    """

    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"
    L2 = "l2"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise InvalidArgumentError("settings.metric", value, f"must be one of {', '.join(cls)}")


# -- Expressions ---------------------------------------------------------------------------------------


class Expression:
    """Anything that a space can turn into a vector. Supports `+`, `-`, and `*` and `/` by a number."""

    @property
    def terms(self) -> tuple[tuple[float, Operand], ...]:
        """The weighted operands whose sum this is."""
        raise TypeError(f"{type(self).__name__} is not an expression")

    def __add__(self, other: Expression) -> Sum:
        if not isinstance(other, Expression):
            return NotImplemented
        return Sum(self.terms + other.terms)

    def __sub__(self, other: Expression) -> Sum:
        if not isinstance(other, Expression):
            return NotImplemented
        return self + (-other)

    def __neg__(self) -> Sum:
        return self * -1.0

    def __mul__(self, weight: float) -> Sum:
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.integer | np.floating):
            return NotImplemented
        return Sum(tuple((float(weight) * own, operand) for own, operand in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Sum:
        if not isinstance(divisor, int | float | np.integer | np.floating):
            return NotImplemented
        if divisor == 0:
            raise InvalidArgumentError("expression.weight", f"division by {divisor}", "must be finite")
        return self * (1.0 / float(divisor))


class Operand(Expression):
    """One thing to encode or look up; the leaves of an expression."""

    @property
    def terms(self) -> tuple[tuple[float, Operand], ...]:
        """This operand alone, with weight 1."""
        return ((1.0, self),)


@dataclass(frozen=True)
class Sum(Expression):
    """A weighted sum of operands. Usually written with arithmetic, not constructed.

    Raises:
        InvalidArgumentError: there is no operand, or a weight is not finite.
    """

    operands: tuple[tuple[float, Operand], ...]

    def __post_init__(self) -> None:
        if not self.operands:
            raise InvalidArgumentError("expression", "no operand", "at least one is needed")
        for weight, _ in self.operands:
            if not math.isfinite(weight):
                raise InvalidArgumentError("expression.weight", weight, "must be finite")

    @property
    def terms(self) -> tuple[tuple[float, Operand], ...]:
        """The weighted operands."""
        return self.operands

    def __repr__(self) -> str:
        parts: list[str] = []
        for weight, operand in self.operands:
            negative = math.copysign(1.0, weight) < 0
            sign = (" - " if negative else " + ") if parts else ("-" if negative else "")
            size = abs(weight)
            parts.append(sign + ("" if size == 1.0 else f"{_number(size)} * ") + repr(operand))
        return "".join(parts)


@dataclass(frozen=True, init=False, repr=False)
class Image(Operand):
    """An image: a path, encoded bytes (JPEG, PNG, WebP, ...), a PIL image or an array.

    Arrays are (height, width) or (height, width, 3 or 4) uint8; they and PIL images are kept as PNG, which
    loses nothing. A path is read when the bytes are needed, not here.

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
        object.__setattr__(self, "source", _image_source(source))
        object.__setattr__(self, "box", None if box is None else _as_box(box, "the image"))

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

        It is cut out here, so that nothing else is sent or stored, and kept as PNG, which loses nothing.

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
        InvalidArgumentError: the text is not a string, or is blank.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip() or not _is_utf8(self.text):
            raise InvalidArgumentError("text", self.text, "must be a string of UTF-8 that is not blank")

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.values.tobytes())

    def __repr__(self) -> str:
        shown = [_number(v) for v in self.values[:4].tolist()]
        if self.values.size > 4:
            return f"Vector([{', '.join(shown)}, ...] of {self.values.size})"
        return f"Vector([{', '.join(shown)}])"


@dataclass(frozen=True, repr=False)
class Unit(Operand):
    """A nested expression, brought to unit length before the outer sum weighs it. Written `unit(a + b)`."""

    expression: Expression

    def __repr__(self) -> str:
        return f"unit({self.expression!r})"


def unit(expression: Expression) -> Unit:
    """Nest an expression: `unit(a + b) - c` gives `a + b` together the same say as `c`.

    Plain parentheses do not: arithmetic is linear, so `(a + b) - c` is `a + b - c`.
    """
    if not isinstance(expression, Expression):
        raise InvalidArgumentError("expression", expression, "must be an expression")
    return Unit(expression)


@dataclass(frozen=True, repr=False)
class Between(Operand):
    """The point on the arc from one expression's unit vector to another's. Written `between(a, b, t)`.

    Spherical linear interpolation: Shoemake, "Animating Rotation with Quaternion Curves" (SIGGRAPH 1985).

    Raises:
        InvalidArgumentError: t is not from 0 to 1.
    """

    start: Expression
    end: Expression
    t: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.t <= 1.0:
            raise InvalidArgumentError("between.t", self.t, "must be from 0 (the start) to 1 (the end)")

    def __repr__(self) -> str:
        return f"between({self.start!r}, {self.end!r}, {_number(self.t)})"


def leaves(expression: Expression) -> Iterator[Operand]:
    """The images, texts, items and vectors of an expression, in order, those of nested ones among them."""
    for _, operand in expression.terms:
        match operand:
            case Unit(nested):
                yield from leaves(nested)
            case Between(start, end):
                yield from leaves(start)
                yield from leaves(end)
            case _:
                yield operand


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
        InvalidArgumentError: it is nothing that an expression can be made of.
    """
    match value:
        case Expression():
            return value
        case list() | tuple():
            return Vector(value)
        case np.ndarray() if value.ndim == 1:
            return Vector(value)
        case str() | Path() | bytes() | PIL.Image.Image() | np.ndarray():
            return as_content(value)
    allowed = "must be an Image, Text, Item, Vector, arithmetic on them, or what makes one of these"
    raise InvalidArgumentError("expression", value, allowed)


# -- What is put and what is found ---------------------------------------------------------------------


@dataclass(frozen=True)
class PutItem:
    """An item to be stored.

    Args:
        id: chosen by the user; an item of that id is replaced whole.
        content: the payload that the collection's models embed: an `Image` or `Text`, or what `as_content`
            makes one of. None if all features are given.
        metadata: a JSON object.
        features: precomputed vectors by model name, (d,) numbers each, kept as float32; they take the place
            of that model's encoding.

    Attributes:
        metadata_json: the metadata as text, made once for all who store or send it.

    Raises:
        InvalidArgumentError: the id, the metadata or a vector is malformed, or there is neither content
            nor features.
    """

    id: str
    content: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    metadata_json: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_id(self.id)
        object.__setattr__(self, "metadata_json", check_metadata(self.metadata))
        if self.content is not None:
            object.__setattr__(self, "content", as_content(self.content))
        elif not self.features:
            raise InvalidArgumentError("item.content", None, "content or features must be given")
        vectors = {model: as_vector(f"item.features[{model}]", v) for model, v in self.features.items()}
        object.__setattr__(self, "features", vectors)


class PutStatus(StrEnum):
    """What a put did."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True)
class PutResult:
    """What became of one item of a batch. Where `status` is FAILED, `error` says why, and nothing changed."""

    id: str
    status: PutStatus
    error: EmbeddbError | None = None


@dataclass(frozen=True)
class Prediction:
    """A class that a model sees in an item, with its probability."""

    label: str
    score: float


@dataclass(frozen=True, eq=False)
class StoredItem:
    """An item as it is stored.

    Attributes:
        modality: of its payload; None for an item of features alone.
        payload: the image or text itself, if asked for and kept.
        features: by model name, (d,) float32 each, if asked for.
        predictions: by model name, most likely first.
    """

    id: str
    metadata: Mapping[str, Any]
    modality: Modality | None = None
    payload: Image | Text | None = None
    features: Mapping[str, Floats] = field(default_factory=dict)
    predictions: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemPage:
    """A page of a listing in id order; `next_token` is empty on the last one."""

    items: Sequence[StoredItem]
    next_token: str


@dataclass(frozen=True)
class View:
    """Which parts of an item to return beside its id, metadata and modality."""

    payload: bool = False
    features: bool = False
    predictions: bool = False


@dataclass(frozen=True)
class Search:
    """A question to a space: a batch of expressions that are evaluated alike.

    Args:
        expressions: what to look for: each an `Expression`, or what `as_expression` makes one of. Each is
            answered on its own.
        k: how many hits at most for each, 1 to `MAX_K`.
        model: whose space to search; None for the collection's first model.
        include_operands: whether items that an expression names may be among its hits.
        view: which parts of the hits to return.
        arithmetic: how the expressions are evaluated.
        explain: whether hits say what each operand contributed to their score.
        candidates: how many of the nearest items are scored or re-ranked, where the index alone cannot do it.
        filter: a condition that hits satisfy, such as `price < 20 and "outdoor" in tags`; empty for none. The
            language is that of `embeddb.search.filter`.
        offset: how many hits (or groups) to pass over. Pages neither overlap nor leave gaps while nothing is
            written.
        min_score: hits score at least this: with it, the search is for all within a threshold, up to k.
        group: hits in groups of equal metadata.
        rerank: another order of the candidates: `Diversify` or `KReciprocal`.
        fusion: the spaces of several models at once, in place of `model`.
        effort: how hard to look where the index is approximate, an `Effort` or its name.

    Raises:
        InvalidArgumentError: there is no expression, one cannot be made an expression, or a number is out of
            range.
    """

    expressions: Sequence[Any]
    k: int = DEFAULT_K
    model: str | None = None
    include_operands: bool = False
    view: View = field(default_factory=View)
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    explain: bool = False
    candidates: int = DEFAULT_CANDIDATES
    filter: str = ""
    offset: int = 0
    min_score: float | None = None
    group: Group | None = None
    rerank: Diversify | KReciprocal | None = None
    fusion: Fusion | None = None
    effort: Effort = Effort.BALANCED

    @property
    def limited(self) -> bool:
        """Whether hits come from a fixed number of candidates only."""
        return self.arithmetic.scores_anew or self.rerank is not None or self._fused

    @property
    def _fused(self) -> bool:
        """Whether several rankings become one."""
        return self.fusion is not None and self.fusion.method is not FusionMethod.SIDE_BY_SIDE

    def __post_init__(self) -> None:
        if not self.expressions:
            raise InvalidArgumentError("expressions", "none", "at least one is needed")
        object.__setattr__(self, "expressions", tuple(as_expression(each) for each in self.expressions))
        object.__setattr__(self, "effort", choice("effort", Effort, self.effort))
        _check_count("k", self.k)
        _check_count("candidates", self.candidates)
        if isinstance(self.offset, bool) or not isinstance(self.offset, int) or self.offset < 0:
            raise InvalidArgumentError("offset", self.offset, "must be a whole number, 0 or more")
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise InvalidArgumentError("min_score", self.min_score, "must be finite")
        self._check_rerank()
        self._check_fusion()
        self._check_reach()

    def _check_rerank(self) -> None:
        if self.rerank is not None and self.candidates > MAX_RERANKED:
            allowed = f"must be at most {MAX_RERANKED:,} where they are re-ranked"
            raise InvalidArgumentError("candidates", self.candidates, allowed)
        if isinstance(self.rerank, KReciprocal) and self.arithmetic.combine is not Combine.SUM:
            allowed = "must be sum for a k-reciprocal re-ranking, which starts from one vector"
            raise InvalidArgumentError("arithmetic.combine", str(self.arithmetic.combine), allowed)

    def _check_fusion(self) -> None:
        if self.fusion is not None and self.model is not None:
            raise InvalidArgumentError("model", self.model, "must be None where fusion names the models")
        for name in ("explain", "rerank"):
            if self._fused and getattr(self, name):
                allowed = "means nothing for fused hits, whose score is of no one space; use side_by_side"
                raise InvalidArgumentError(name, getattr(self, name), allowed)

    def _check_reach(self) -> None:
        reach, of = (self.candidates, "candidates") if self.limited else (MAX_K, "what can be reached")
        if self.offset + self.k > reach:
            given = f"{self.k} + {self.offset}" if self.offset else self.k
            field_name = "k + offset" if self.offset else "k"
            raise InvalidArgumentError(field_name, given, f"must be at most {of} ({reach:,})")


@dataclass(frozen=True)
class Contribution:
    """What one operand has to do with a hit.

    Attributes:
        weight: the operand's, as written.
        similarity: of the hit to this operand alone, -1 to 1.
        share: its part of the score. Where operands are summed, the shares add up to the score; where they
            are multiplied, to its natural logarithm; of `Combine.BEST`, the operand that decided has it all.
    """

    weight: float
    similarity: float
    share: float


@dataclass(frozen=True, eq=False)
class Hit:
    """An item found.

    Attributes:
        score: a similarity: larger is nearer, for every metric.
        explanation: one contribution a term of the expression, in the order of its `terms`, if asked for.
        group: the value of the field that the hits are grouped by.
        model: whose space it was found in, where several were searched side by side.
    """

    item: StoredItem
    score: float
    explanation: Sequence[Contribution] = ()
    group: str | float | bool | None = None
    model: str | None = None

    @property
    def id(self) -> str:
        """The item's id."""
        return self.item.id

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The item's metadata."""
        return self.item.metadata

    def __repr__(self) -> str:
        return f"Hit({self.id!r}, score={self.score:.4f})"


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a model makes of one content.

    Attributes:
        features: (d,) float32, as the model's own library gives them.
        predictions: most likely first; empty for a model without classes.
    """

    features: Floats
    predictions: Sequence[Prediction] = ()


# -- What the service says of itself -------------------------------------------------------------------


class Precision(StrEnum):
    """The type of number that a network calculates in; AUTO takes what is fastest and stays within 0.999."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise InvalidArgumentError("options.precision", value, f"must be one of {', '.join(cls)}")


@dataclass(frozen=True)
class RunOptions:
    """How a model is to be run. None of it changes what its features mean, nor its fingerprint.

    Args:
        device: "cpu", "cuda", "cuda:1" and so on; "auto" takes the first GPU, if there is one.
        precision: a `Precision` or its name. What is slower than float32 here, or whose features have a
            cosine below 0.999 to those in float32, is never taken by AUTO.
        lazy: whether the model is loaded at its first use after a start, instead of at the start.

    Raises:
        InvalidArgumentError: there is no such precision, or the device is not written like these.
    """

    device: str = "auto"
    precision: Precision = Precision.AUTO
    lazy: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", Precision(self.precision))
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise InvalidArgumentError("options.device", self.device, "must be auto, cpu, cuda or cuda:N")


@dataclass(frozen=True)
class Running:
    """A loaded model as it runs.

    Attributes:
        device: "cpu" or "cuda:0" and so on.
        precision: of its weights; never AUTO.
        bytes: what its weights take.
    """

    device: str
    precision: Precision
    bytes: int


@dataclass(frozen=True)
class ModelInfo:
    """A registered model: how it is loaded and what it gives.

    Attributes:
        spec: plain data with the key "loader"; the rest is that loader's.
        modalities: what it encodes; empty for a model whose features are always given.
        dimension: of its features.
        labels: how many classes it predicts; 0 for none.
        fingerprint: a hash over weights, architecture and preprocessing.
        options: how it is to be run.
        running: how it runs; None while it is not loaded.
    """

    name: str
    spec: Mapping[str, Any]
    modalities: tuple[Modality, ...]
    dimension: int
    labels: int
    fingerprint: str
    options: RunOptions = field(default_factory=RunOptions)
    running: Running | None = None


class Encoding(StrEnum):
    """How features are stored: FLOAT16 takes half the room and keeps 11 bits of each number."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise InvalidArgumentError("settings.encoding", value, f"must be one of {', '.join(cls)}")


@dataclass(frozen=True)
class CollectionSettings:
    """What is decided about a collection when it is made, and stays.

    Args:
        encoding: of its features on the disk, an `Encoding` or its name.
        keep_payloads: whether images and texts are kept once they are embedded. Without them an item cannot
            be shown, and another model cannot embed it later.
        metric: how vectors are compared, a `Metric` or its name. With another than the cosine, expressions
            are plain sums: neither their operands nor they are brought to unit length.
        index: of each space. "auto" is exact up to 100,000 vectors, and then an IVF index; "Flat" is always
            exact; else it is a factory string of FAISS for an index of the families IVF or HNSW, such as
            "HNSW32", which is used once there are enough vectors for it.
        recall: the share of the exact ten nearest that searches find with balanced effort, 0.5 to 1; 1 is
            always exact.

    Raises:
        InvalidArgumentError: there is no such encoding or metric, or the recall is out of range.
    """

    encoding: Encoding = Encoding.FLOAT32
    keep_payloads: bool = True
    metric: Metric = Metric.COSINE
    index: str = "auto"
    recall: float = 0.95

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoding", Encoding(self.encoding))
        object.__setattr__(self, "metric", Metric(self.metric))
        if not 0.5 <= self.recall <= 1:
            raise InvalidArgumentError("settings.recall", self.recall, "must be from 0.5 to 1")


@dataclass(frozen=True)
class CollectionInfo:
    """A collection and the models that embed its items; the first one is searched by default."""

    name: str
    models: tuple[str, ...]
    items: int
    settings: CollectionSettings = CollectionSettings()


class BackfillState(StrEnum):
    """Where a backfill is: FAILED says so in its error, and goes on when it is run again."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Backfill:
    """How far a model is in embedding what a collection held before it came.

    Attributes:
        model: its name.
        state: its space is searched once this is COMPLETE.
        items: how many there were when it began.
        done: how many of them were looked at; those that have the model's features already are quickly done.
        embedded: how many were embedded.
        missing: how many could not be: their payload is not stored, or the model cannot encode it.
        listed: the first 1,000 of these, each with the reason.
        seconds: how long it has run.
        error: why it failed, where it did.
    """

    model: str
    state: BackfillState
    items: int
    done: int
    embedded: int
    missing: int
    listed: Sequence[PutResult]
    seconds: float
    error: EmbeddbError | None = None

    @property
    def rate(self) -> float:
        """How many items were embedded in a second."""
        return self.embedded / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class SpaceStats:
    """One space: its model, how many vectors it holds, their dimension, and its index.

    `recall` is the mean recall@10 of live searches that were compared with exact search, 0 to 1; None where
    every search is exact, or none was compared since the index was built.
    """

    model: str
    vectors: int
    dimension: int
    index: str
    recall: float | None = None


@dataclass(frozen=True)
class Stats:
    """The server at a glance. `bytes_on_disk` counts the whole data folder."""

    version: str
    uptime_seconds: float
    bytes_on_disk: int
    models: tuple[ModelInfo, ...]
    collections: tuple[CollectionInfo, ...]
    spaces: Mapping[str, Sequence[SpaceStats]]


# -- Checks that the vocabulary, the engine and the wire share ------------------------------------------


def check_id(item_id: str) -> str:
    """Return the id if it is one: 1 to `MAX_ID_BYTES` bytes of UTF-8, without a NUL.

    Raises:
        InvalidArgumentError: it is not.
    """
    allowed = f"must be a string of 1 to {MAX_ID_BYTES} bytes in UTF-8 without NUL"
    if not isinstance(item_id, str) or not item_id or "\0" in item_id or not _is_utf8(item_id):
        raise InvalidArgumentError("item.id", item_id, allowed)
    size = len(item_id.encode())
    if size > MAX_ID_BYTES:
        raise InvalidArgumentError("item.id", item_id, f"{allowed}, and this has {size}")
    return item_id


def check_name(field_name: str, name: str) -> str:
    """Return the name of a model or collection if it is one: letters, digits, '.', '_', '-', 1 to 64 of them.

    Raises:
        InvalidArgumentError: it is not.
    """
    well_formed = isinstance(name, str) and 1 <= len(name) <= MAX_NAME_LENGTH and name[0] not in ".-"
    if not well_formed or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        allowed = "must be 1 to 64 of A-Z a-z 0-9 . _ - and not start with . or -"
        raise InvalidArgumentError(field_name, name, allowed)
    return name


_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def check_metadata(metadata: Mapping[str, Any]) -> str:
    """Return the metadata as JSON text.

    Raises:
        InvalidArgumentError: it is not an object of plain JSON values.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidArgumentError("item.metadata", metadata, "must be a JSON object")
    try:
        # JSON's own encoder makes a string of any other key, and then one of two may be lost.
        _check_keys(metadata)
        text = _JSON.encode(dict(metadata))
        text.encode()  # JSON may escape half a surrogate pair, which no UTF-8 can hold.
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError("item.metadata", metadata, f"must be plain JSON: {error}") from None
    return text


def _check_keys(value: object) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


def as_vector(field_name: str, values: npt.ArrayLike) -> Floats:
    """Return a read-only float32 copy of shape (d,).

    Raises:
        InvalidArgumentError: it is not one-dimensional, is empty, or is not finite everywhere.
    """
    try:
        # Numbers beyond float32 become infinite and are refused below; the warning would say less.
        with np.errstate(over="ignore"):
            vector = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise InvalidArgumentError(field_name, values, "must be a sequence of numbers") from None
    if vector.ndim != 1 or vector.size == 0:
        raise InvalidArgumentError(field_name, f"shape {vector.shape}", "must be one-dimensional, not empty")
    if not np.isfinite(vector).all():
        raise InvalidArgumentError(field_name, "NaN or infinity", "must be finite everywhere")
    vector.setflags(write=False)
    return vector


def cut_out(image: PIL.Image.Image, box: Sequence[int]) -> PIL.Image.Image:
    """The part of an upright picture inside a box (see `Image`).

    Raises:
        InvalidArgumentError: the box does not lie inside it.
    """
    width, height = image.size
    left, top, right, bottom = _as_box(box, f"{width} x {height}")
    if right > width or bottom > height:
        raise _bad_box(box, f"{width} x {height}")
    return image.crop((left, top, right, bottom))


def _as_box(box: Sequence[int], inside: str) -> Box:
    whole = len(box) == 4 and all(isinstance(n, int | np.integer) for n in box)
    # No image is larger than what four bytes hold, which is how a box is sent.
    if not whole or not (0 <= box[0] < box[2] < 1 << 32 and 0 <= box[1] < box[3] < 1 << 32):
        raise _bad_box(box, inside)
    left, top, right, bottom = (int(n) for n in box)
    return left, top, right, bottom


def _bad_box(box: Sequence[int], inside: str) -> InvalidArgumentError:
    allowed = f"must be left, top, right, bottom in pixels, inside {inside}"
    return InvalidArgumentError("box", tuple(box), allowed)


def _check_count(field_name: str, count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_K:
        raise InvalidArgumentError(field_name, count, f"must be a whole number from 1 to {MAX_K:,}")


def _image_source(source: object) -> str | bytes:
    match source:
        case str() | Path():
            return str(source)
        case bytes():
            if not source:
                raise InvalidArgumentError("image", source, "must be an encoded image")
            return source
        case PIL.Image.Image():
            return _as_png(source)
        case np.ndarray():
            channels_fit = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (3, 4))
            if source.dtype != np.uint8 or not channels_fit or source.size == 0:
                given = f"{source.dtype} array of shape {source.shape}"
                raise InvalidArgumentError("image", given, "must be uint8 (h, w) or (h, w, 3 or 4)")
            return _as_png(PIL.Image.fromarray(source))
        case _:
            allowed = "must be a path, bytes, a PIL image or a numpy array"
            raise InvalidArgumentError("image", type(source).__name__, allowed)


def _as_png(image: PIL.Image.Image) -> bytes:
    if image.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    # Level 1: these bytes are read once or twice, so time matters more than the last percents of size.
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _is_utf8(text: str) -> bool:
    """Whether a string can be sent: one with half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: float) -> str:
    return f"{value:.6g}"
