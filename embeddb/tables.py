"""Hits and items as tables, for programs that reckon in columns.

    hits = photos.search("a cat", 100, with_features=True)
    to_pandas(hits).groupby("metadata.country").score.mean()

The columns: `id`; of hits `score`, and `group` and `model` where they were asked for; `modality`, "image",
"text" or null; `metadata.KEY` for each key that occurs; and as they were asked for, for each model
`features.MODEL`, a list of float32, and `predictions.MODEL`, a list of labels with their scores. What a row
does not have is null. Payloads stay out. In process and through a server alike; it needs the extra `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

try:
    import pyarrow as pa
except ModuleNotFoundError as error:
    raise ImportError("embeddb.tables needs pyarrow and pandas: pip install 'embeddb[tables]'") from error

from embeddb.errors import InvalidArgumentError
from embeddb.query import Hit, StoredItem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_arrow", "to_pandas"]

V = TypeVar("V")

PREDICTIONS = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))


def to_arrow(found: Iterable[Hit | StoredItem]) -> pa.Table:
    """Make an Arrow table, a row for each hit or item, in their order.

    Raises:
        InvalidArgumentError: the values under a key of the metadata have no type in common.
    """
    rows = list(found)
    items = [row.item if isinstance(row, Hit) else row for row in rows]
    columns = {"id": pa.array([item.id for item in items], pa.string())}
    if rows and isinstance(rows[0], Hit):
        columns |= _of_hits([row for row in rows if isinstance(row, Hit)])
    columns["modality"] = pa.array([item.modality for item in items], pa.string())
    columns |= _each("metadata", [item.metadata for item in items], _values)
    columns |= _each("features", [item.features for item in items], _vectors)
    columns |= _each("predictions", [item.predictions for item in items], _predictions)
    return pa.table(columns)


def to_pandas(found: Iterable[Hit | StoredItem]) -> pd.DataFrame:
    """Make a data frame, a row for each hit or item, in their order; features are numpy arrays in it.

    Raises:
        InvalidArgumentError: the values under a key of the metadata have no type in common.
    """
    return to_arrow(found).to_pandas()


def _of_hits(hits: Sequence[Hit]) -> dict[str, pa.Array]:
    columns = {"score": pa.array([hit.score for hit in hits], pa.float32())}
    for name in ("group", "model"):
        values = [getattr(hit, name) for hit in hits]
        if any(value is not None for value in values):
            columns[name] = _values(name, values)
    return columns


def _each(
    prefix: str,
    mappings: Sequence[Mapping[str, V]],
    column: Callable[[str, list[V | None]], pa.Array],
) -> dict[str, pa.Array]:
    """A column for each key of the mappings, in the order in which they occur."""
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return {
        f"{prefix}.{key}": column(f"{prefix}.{key}", [mapping.get(key) for mapping in mappings])
        for key in keys
    }


def _values(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        allowed = "must be of one type that Arrow has, to make a column"
        raise InvalidArgumentError(name, ", ".join(kinds), allowed) from None


def _vectors(name: str, vectors: list[Any]) -> pa.Array:
    return pa.array(vectors, pa.list_(pa.float32()))


def _predictions(name: str, predictions: list[Any]) -> pa.Array:
    rows = [None if row is None else [asdict(each) for each in row] for row in predictions]
    return pa.array(rows, PREDICTIONS)
