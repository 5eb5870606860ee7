"""What items say of themselves, column by column, so that a filter looks at a million of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embeddb.query import Prediction
from embeddb.search.column import Array, Column, Growing, Lists, Numbers, Texts, packed, parts_of, unpacked
from embeddb.search.filter import Field, Value

__all__ = ["Attributes", "Columns", "kind_of"]


class Attributes(NamedTuple):
    """What a filter can ask of one item.

    Attributes:
        predictions: by model name, most likely first.
    """

    row: int
    modality: str | None
    metadata: Mapping[str, Any]
    predictions: Mapping[str, Sequence[Prediction]] = {}


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
        self._rows = Growing(np.int64(-1))
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

    def arrays(self) -> dict[str, Array]:
        """All of it as arrays by name, which `restored` takes; they are not to be changed."""
        named = [
            (about, kind, column)
            for about, by_kind in self._columns.items()
            for kind, column in by_kind.items()
        ]
        arrays: dict[str, Array] = {
            "rows": self.rows,
            "columns": packed([(about.source, about.name, kind) for about, kind, _ in named]),
        }
        for number, (_, _, column) in enumerate(named):
            for name, array in column.arrays(self._count).items():
                arrays[f"{number}.{name}"] = array
        return arrays

    @classmethod
    def restored(cls, arrays: Mapping[str, Array]) -> Columns:
        """The columns that gave these arrays, which are theirs from now on."""
        columns = cls()
        columns._rows.restore(arrays["rows"])
        columns._count = len(arrays["rows"])
        for number, (source, name, kind) in enumerate(unpacked(arrays["columns"])):
            column = columns._columns[Field(source, name)][kind] = _MAKE[kind]()
            column.restore(parts_of(arrays, str(number)))
        return columns


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

    Items of a collection mostly have the same keys. Those that do are transposed together by `zip`, which is
    faster than key by key.
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
