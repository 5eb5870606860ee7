"""A column of what items say of themselves: numbers, texts, or lists of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Column", "Growing", "Lists", "Numbers", "Texts", "packed", "parts_of", "unpacked"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

FIRST_CAPACITY = 1024


class Growing(Generic[T]):
    """A one-dimensional array with room at its end, and a value where nothing was set."""

    def __init__(self, missing: T) -> None:
        self._missing = missing
        self._array: npt.NDArray[T] = np.empty(0, missing.dtype)

    def restore(self, values: npt.NDArray[T]) -> None:
        """Hold these values, and nothing else."""
        self._array = values

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
        self._values = Growing(np.float64(np.nan))

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

    def arrays(self, n: int) -> dict[str, Array]:
        """Its first n values, as `restore` takes them."""
        return {"values": self._values.first(n)}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Hold what `arrays` of another column gave."""
        self._values.restore(arrays["values"])


class Texts:
    """A column of texts: the distinct ones, each looked at once by a filter, and which one each item has."""

    def __init__(self) -> None:
        self._codes = Growing(np.int32(-1))
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

    def arrays(self, n: int) -> dict[str, Array]:
        """Its first n values, as `restore` takes them."""
        return {"codes": self._codes.first(n), "texts": packed(list(self._code_of))}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Hold what `arrays` of another column gave."""
        self._codes.restore(arrays["codes"])
        self._code_of = {text: code for code, text in enumerate(unpacked(arrays["texts"]))}


class Lists:
    """A column of lists: a column of all their members, and which item each member belongs to."""

    def __init__(self, members: Numbers | Texts) -> None:
        self._members = members
        self._owners = Growing(np.int64(-1))
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

    def arrays(self, n: int) -> dict[str, Array]:
        """Its first n values, as `restore` takes them."""
        members = self._members.arrays(self._count)
        return {
            "there": self._there.arrays(n)["values"],
            "owners": self._owners.first(self._count),
            **{f"members.{name}": array for name, array in members.items()},
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Hold what `arrays` of another column gave."""
        self._there.restore({"values": arrays["there"]})
        self._owners.restore(arrays["owners"])
        self._count = len(arrays["owners"])
        self._members.restore(parts_of(arrays, "members"))


Column = Numbers | Texts | Lists

_COMPARISONS: dict[str, Any] = {
    "==": np.equal,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def packed(plain: Any) -> npt.NDArray[np.uint8]:
    """Plain data as the bytes of its JSON, (n,) uint8."""
    return np.frombuffer(json.dumps(plain).encode(), np.uint8)


def unpacked(array: Array) -> Any:
    """What `packed` packed."""
    return json.loads(array.tobytes())


def parts_of(arrays: Mapping[str, Array], name: str) -> dict[str, Array]:
    """The arrays whose names begin with that name and a dot, by what follows."""
    return {each.partition(".")[2]: array for each, array in arrays.items() if each.startswith(f"{name}.")}


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
