"""What items say of themselves, column by column, so that a filter looks at a million of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from embeddb.query import Prediction
from embeddb.search.filter import Field, Value

__all__ = ["Attributes", "Columns", "Lists", "Numbers", "Texts"]

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

FIRST_CAPACITY = 1024


class Attributes(NamedTuple):
    """What a filter can ask of one item.

    Attributes:
        predictions: by model name, most likely first.
    """

    row: int
    modality: str | None
    metadata: Mapping[str, Any]
    predictions: Mapping[str, Sequence[Prediction]] = {}


class _Growing(Generic[T]):
    """A one-dimensional array with room at its end, and a value where nothing was set."""

    def __init__(self, missing: T) -> None:
        self._missing = missing
        self._array: npt.NDArray[T] = np.empty(0, missing.dtype)

    def put(self, places: Places, values: npt.ArrayLike) -> None:
        """Set values at places, one at least."""
        last = int(places.max())
        if len(self._array) <= last:
            self._resize(max(FIRST_CAPACITY, 2 * last))
        self._array[places] = values

    def first(self, n: int) -> npt.NDArray[T]:
        """The first n values."""
        if len(self._array) < n:
            self._resize(n)
        return self._array[:n]

    def _resize(self, size: int) -> None:
        resized = np.full(size, self._missing)
        resized[: len(self._array)] = self._array
        self._array = resized


class Numbers:
    """A column of numbers, or of true (1) and false (0); NaN, which equals nothing, where there is none."""

    def __init__(self) -> None:
        self._values = _Growing(np.float64(np.nan))

    def put(self, places: Places, values: Sequence[Any]) -> None:
        """Set values at places, one at least."""
        try:
            self._values.put(places, np.array(values, np.float64))
        except OverflowError:
            # A whole number that is larger than any float is as good as infinite.
            self._values.put(places, [_as_float(value) for value in values])

    def present(self, n: int) -> Mask:
        """(n,) bool: which items have a number."""
        return ~np.isnan(self._values.first(n))

    def compare(self, operator: str, value: Any, n: int) -> Mask:
        """(n,) bool: which items' number is `operator` the value."""
        mask: Mask = _COMPARISONS[operator](self._values.first(n), float(value))
        return mask

    def one_of(self, values: Iterable[Any], n: int) -> Mask:
        """(n,) bool: which items' number is among the values."""
        return np.isin(self._values.first(n), [float(value) for value in values])


class Texts:
    """A column of texts, as the numbers of the distinct ones, each of which is looked at once."""

    def __init__(self) -> None:
        self._codes = _Growing(np.int32(-1))
        self._code_of: dict[str, int] = {}

    def put(self, places: Places, values: Sequence[str]) -> None:
        """Set values at places, one at least."""
        code_of = self._code_of
        self._codes.put(places, [code_of.setdefault(value, len(code_of)) for value in values])

    def present(self, n: int) -> Mask:
        """(n,) bool: which items have a text."""
        return self._codes.first(n) >= 0

    def compare(self, operator: str, value: str, n: int) -> Mask:
        """(n,) bool: which items' text is `operator` the value, by code points."""
        if operator == "==":
            return self.one_of([value], n)
        holds = _COMPARISONS[operator]
        return self._where([holds(text, value) for text in self._code_of], n)

    def one_of(self, values: Iterable[str], n: int) -> Mask:
        """(n,) bool: which items' text is among the values."""
        codes = [self._code_of[value] for value in set(values) if value in self._code_of]
        return np.isin(self._codes.first(n), codes)

    def prefix(self, start: str, n: int) -> Mask:
        """(n,) bool: which items' text begins so."""
        return self._where([text.startswith(start) for text in self._code_of], n)

    def _where(self, holds: list[bool], n: int) -> Mask:
        # The code of an item without a text is -1, and takes the False at the end.
        found: Mask = np.array([*holds, False])[self._codes.first(n)]
        return found


class Lists:
    """A column of lists, of which each member has a place of its own in a column of members."""

    def __init__(self, members: Numbers | Texts) -> None:
        self._members = members
        self._owners = _Growing(np.int64(-1))
        self._count = 0
        self._there = Numbers()

    def put(self, places: Places, values: Sequence[Sequence[Any]]) -> None:
        """Set values at places, one at least."""
        members = [member for value in values for member in value]
        self._there.put(places, [1.0] * len(places))
        if members:
            inside = np.arange(self._count, self._count + len(members))
            self._members.put(inside, members)
            self._owners.put(inside, np.repeat(places, [len(value) for value in values]))
            self._count += len(members)

    def present(self, n: int) -> Mask:
        """(n,) bool: which items have a list."""
        return self._there.present(n)

    def contains(self, value: Any, n: int) -> Mask:
        """(n,) bool: which items' list has the value."""
        found = np.zeros(n, np.bool_)
        hits = self._members.compare("==", value, self._count)
        found[self._owners.first(self._count)[hits]] = True
        return found


Column = Numbers | Texts | Lists

_COMPARISONS: dict[str, Any] = {
    "==": np.equal,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_KINDS: dict[type, str] = {bool: "flag", int: "number", float: "number", str: "text"}
_MAKE: dict[str, Callable[[], Column]] = {
    "flag": Numbers,
    "number": Numbers,
    "text": Texts,
    "flags": lambda: Lists(Numbers()),
    "numbers": lambda: Lists(Numbers()),
    "texts": lambda: Lists(Texts()),
}


class Columns:
    """The attributes of items, in the order of their rows. Not thread-safe.

    A field has a column for each kind of value that it ever had: "number", "text", "flag" (true or false),
    and lists of them, "numbers", "texts", "flags". Members of a list that are of another kind than these,
    and lists in lists, are left out.
    """

    def __init__(self) -> None:
        self._rows = _Growing(np.int64(-1))
        self._count = 0
        self._columns: dict[Field, dict[str, Column]] = defaultdict(dict)

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """(n,) int64, ascending."""
        return self._rows.first(self._count)

    @property
    def last_row(self) -> int:
        """The row of the last item; -1 where there is none."""
        return int(self.rows[-1]) if self._count else -1

    def append(self, items: Sequence[Attributes]) -> None:
        """Add items, one at least, whose rows ascend and are beyond those that are here."""
        for about, (places, values) in _fields(items).items():
            columns = self._columns[about]
            for kind, chosen, parts in _by_kind(places, values):
                if kind not in columns:
                    columns[kind] = _MAKE[kind]()
                columns[kind].put(self._count + np.array(chosen), parts)
        added = np.arange(self._count, self._count + len(items))
        self._rows.put(added, [item.row for item in items])
        self._count += len(items)

    def of(self, about: Field) -> Mapping[str, Column]:
        """The columns of a field, by kind; none if no item has it."""
        return self._columns.get(about, {})


def kind_of(value: Value) -> str:
    """Which kind of column holds such a value."""
    return _KINDS[type(value)]


_Values = tuple[Sequence[int], Sequence[Any]]
"""Places among some items, and what a field holds in each of them."""


def _fields(items: Sequence[Attributes]) -> Mapping[Field, _Values]:
    """What items hold, field by field."""
    found: dict[Field, tuple[list[int], list[Any]]] = defaultdict(lambda: ([], []))

    def add(about: Field, place: int, value: Any) -> None:
        places, values = found[about]
        places.append(place)
        values.append(value)

    for place, item in enumerate(items):
        if item.modality is not None:
            add(Field("modality"), place, item.modality)
        for model, predictions in item.predictions.items():
            if predictions:
                add(Field("label", model), place, predictions[0].label)
                add(Field("score", model), place, predictions[0].score)
                add(Field("labels", model), place, [each.label for each in predictions])
    _flatten("", range(len(items)), [item.metadata for item in items], found)
    return found


def _flatten(
    prefix: str,
    places: Sequence[int],
    objects: Sequence[Mapping[str, Any]],
    found: dict[Field, tuple[list[int], list[Any]]],
) -> None:
    """Add the values of JSON objects, one at each place; those of objects inside them under dotted names.

    Items of a collection mostly have the same keys. Those that do are turned over together, by `zip`, and not
    key by key.
    """
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, each in enumerate(objects):
        alike[tuple(each)].append(number)
    for keys, numbers in alike.items():
        columns = zip(*(objects[number].values() for number in numbers), strict=True)
        where = [places[number] for number in numbers]
        for key, values in zip(keys, columns, strict=True):
            types = set(map(type, values))
            if dict in types:
                inner = [number for number, value in enumerate(values) if type(value) is dict]
                nested = [where[number] for number in inner], [values[number] for number in inner]
                _flatten(f"{prefix}{key}.", *nested, found)
            if types == {dict}:
                continue
            about = found[Field("metadata", prefix + key)]
            about[0].extend(where)
            about[1].extend(values)


def _by_kind(
    places: Sequence[int], values: Sequence[Any]
) -> Iterator[tuple[str, Sequence[int], Sequence[Any]]]:
    """The places and values of a field, apart by the kind of column that they belong in."""
    types, plural = set(map(type, values)), ""
    # Most fields hold one kind of thing, which need not be looked at one by one.
    if types == {list} and all(values):
        types, plural = set(map(type, chain.from_iterable(values))), "s"
    kind = _KINDS.get(next(iter(types))) if len(types) == 1 else None
    if kind is not None:
        yield kind + plural, places, values
        return
    apart: dict[str, tuple[list[int], list[Any]]] = defaultdict(lambda: ([], []))
    for place, value in zip(places, values, strict=True):
        for each, part in _parts(value):
            apart[each][0].append(place)
            apart[each][1].append(part)
    yield from ((each, *both) for each, both in apart.items())


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """A value, or a list's members, by kind; none of a null or an object."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        yield kind, value
    elif isinstance(value, list):
        members: dict[str, list[Any]] = defaultdict(list)
        for each in value:
            if type(each) in _KINDS:
                members[_KINDS[type(each)] + "s"].append(each)
        # An empty list is there, whatever it would hold.
        yield from (members or {"texts": []}).items()


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
