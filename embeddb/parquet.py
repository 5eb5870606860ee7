"""A collection as a Parquet file, for other programs and for moving it.

The columns: `id`; `metadata`, a JSON object; `modality`, "image", "text" or null; `payload`, the bytes, if
asked for; and for each model `features.<model>`, a list of float32, and `predictions.<model>`, a list of
labels with their scores, both null where an item has none of it.
In process and through a server alike; it needs the extra `parquet`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise ImportError("embeddb.parquet needs pyarrow: pip install 'embeddb[parquet]'") from error

from embeddb.calls import CollectionCalls
from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb.query import (
    Image,
    Modality,
    Prediction,
    PutItem,
    PutResult,
    PutResults,
    PutStatus,
    StoredItem,
    Text,
    View,
)

__all__ = ["export_collection", "import_collection"]

FEATURES = "features."
PREDICTIONS = "predictions."
_PREDICTION = pa.struct([("label", pa.string()), ("score", pa.float32())])
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_NUMBERS = (pa.types.is_floating, pa.types.is_integer)
ROWS_PER_GROUP = 1_000
ROWS_PER_READ = 100


def export_collection(collection: CollectionCalls, path: str | Path, *, payloads: bool = True) -> int:
    """Write a collection to a Parquet file, which is there when all of it is written, and not before.

    Items that are written meanwhile may be in it or not.

    Args:
        payloads: whether to write the images and texts too.

    Returns:
        How many items were written.

    Raises:
        InvalidArgumentError: the path is that of a folder, or in none.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise InvalidArgumentError("path", str(path), "must be a file to write, and is a folder")
    if not path.parent.is_dir():
        raise InvalidArgumentError("path", str(path), "must be in a folder that is there")
    unfinished = path.with_name(f"{path.name}.unfinished")
    models = collection.info().models
    fields = [("id", pa.string()), ("metadata", pa.string()), ("modality", pa.string())]
    fields += [("payload", pa.binary())] if payloads else []
    fields += [(FEATURES + model, pa.list_(pa.float32())) for model in models]
    fields += [(PREDICTIONS + model, pa.list_(_PREDICTION)) for model in models]
    schema = pa.schema(fields)
    count = 0
    try:
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            items = collection.items(view=View(payload=payloads, features=True, predictions=True))
            for group in _groups(items):
                rows = [_row(item, models) for item in group]
                writer.write_table(pa.Table.from_pylist(rows, schema))
                count += len(rows)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def import_collection(
    collection: CollectionCalls,
    path: str | Path,
    *,
    features: bool = True,
    on_progress: Callable[[PutResults], None] | None = None,
) -> PutResults:
    """Put the items of a Parquet file into a collection; those of an id that is there are replaced.

    Args:
        features: whether to take the file's features, and the predictions that belong to them, which costs no
            inference. Without them the collection's models embed the payloads, and make predictions.
        on_progress: called with the results of each batch as soon as it is durable and searchable.

    Returns:
        One result an item, those that could not be read last.

    Raises:
        InvalidArgumentError: the file cannot be read, lacks a column, or has one twice or of another
            type.
        NotFoundError: the file has features of a model that the collection does not have.
    """
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise InvalidArgumentError("path", str(path), "must be a file that is there") from None
    except (OSError, pa.ArrowException) as error:
        raise InvalidArgumentError("path", str(path), f"must be a Parquet file: {error}") from None
    with file:
        names = file.schema_arrow.names
        missing = [name for name in ("id", "metadata") if name not in names]
        if missing:
            raise InvalidArgumentError(
                "path", str(path), f"must have columns id and metadata, lacks {missing}"
            )
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise InvalidArgumentError(
                "path", str(path), f"must have each column once, has {twice} more often"
            )
        _check_types(file.schema_arrow, features=features)
        models = [name.removeprefix(FEATURES) for name in names if features and name.startswith(FEATURES)]
        known = collection.info().models
        for model in models:
            if model not in known:
                raise NotFoundError(f"model of collection {collection.name!r}", model, list(known))
        unread: list[PutResult] = []
        results = collection.put_many(_items(path, file, models, unread), on_progress=on_progress)
    return results + unread


def _check_types(schema: pa.Schema, *, features: bool) -> None:
    """Refuse columns of other types before anything is stored.

    Raises:
        InvalidArgumentError: there is one.
    """
    for column in schema:
        if column.name in ("id", "metadata", "modality"):
            fits, allowed = _is_text(column.type), "strings"
        elif column.name == "payload":
            fits, allowed = any(check(column.type) for check in _BYTES), "bytes"
        elif features and column.name.startswith(FEATURES):
            fits, allowed = _is_list(column.type, _NUMBERS), "lists of numbers"
        elif features and column.name.startswith(PREDICTIONS):
            fits, allowed = _is_list(column.type, [_is_prediction]), f"lists of {_PREDICTION}"
        else:
            continue
        # A column of nothing but nulls has no type.
        if not fits and not pa.types.is_null(column.type):
            raise InvalidArgumentError(f"column {column.name!r}", str(column.type), f"must be {allowed}")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return any(check(kind) for check in _TEXT)


def _is_prediction(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {field.name for field in kind} >= {"label", "score"}


def _is_list(kind: pa.DataType, checks: Iterable[Callable[[pa.DataType], bool]]) -> bool:
    return any(check(kind) for check in _LISTS) and any(check(kind.value_type) for check in checks)


def _pairs(predictions: Sequence[Prediction] | None) -> list[dict[str, Any]] | None:
    return None if predictions is None else [{"label": p.label, "score": p.score} for p in predictions]


def _seen(row: Mapping[str, Any], model: str) -> list[tuple[str, float]]:
    """What a model saw in an item of a file; files of earlier versions do not tell."""
    predictions = row.get(PREDICTIONS + model) or ()
    if None in predictions:
        allowed = "must have a label with a score in every place"
        raise InvalidArgumentError(f"item.predictions[{model}]", None, allowed)
    return [(each["label"], each["score"]) for each in predictions]


def _groups(items: Iterator[StoredItem]) -> Iterator[list[StoredItem]]:
    while group := list(islice(items, ROWS_PER_GROUP)):
        yield group


def _row(item: StoredItem, models: Iterable[str]) -> dict[str, Any]:
    return {
        "id": item.id,
        "metadata": item.metadata_json,
        "modality": item.modality,
        "payload": None if item.payload is None else item.payload.read(),
        **{FEATURES + model: item.features.get(model) for model in models},
        **{PREDICTIONS + model: _pairs(item.predictions.get(model)) for model in models},
    }


def _items(
    path: str | Path, file: pq.ParquetFile, models: Sequence[str], unread: list[PutResult]
) -> Iterator[PutItem]:
    """The items of a file; what is none is added to `unread`.

    Raises:
        InvalidArgumentError: the file is damaged.
    """
    wanted = ["id", "metadata", "modality", "payload", *(FEATURES + model for model in models)]
    wanted += [PREDICTIONS + model for model in models]
    columns = [name for name in wanted if name in file.schema_arrow.names]
    for batch in _batches(path, file, columns):
        vectors = {model: batch.column(FEATURES + model) for model in models}
        plain = batch.drop_columns([FEATURES + model for model in models])
        for place, row in enumerate(plain.to_pylist()):
            try:
                features = {
                    model: _vector(model, column[place])
                    for model, column in vectors.items()
                    if column[place].is_valid
                }
                predictions = {model: seen for model in features if (seen := _seen(row, model))}
                yield PutItem(row["id"], _content(row), _metadata(row["metadata"]), features, predictions)
            except EmbeddbError as error:
                unread.append(PutResult(str(row["id"]), PutStatus.FAILED, error))


def _batches(path: str | Path, file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a file, so many at a time.

    Raises:
        InvalidArgumentError: it is damaged.
    """
    try:
        yield from file.iter_batches(ROWS_PER_READ, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise InvalidArgumentError("path", str(path), f"cannot be read to its end: {error}") from None


def _vector(model: str, numbers: pa.ListScalar) -> npt.NDArray[np.number]:
    if numbers.values.null_count:
        raise InvalidArgumentError(f"item.features[{model}]", None, "must have a number in every place")
    vector: npt.NDArray[np.number] = numbers.values.to_numpy()
    return vector


def _content(row: Mapping[str, Any]) -> Image | Text | None:
    payload = row.get("payload")
    match row.get("modality"):
        case _ if payload is None:
            return None
        case Modality.IMAGE:
            return Image(payload)
        case Modality.TEXT:
            try:
                return Text(payload.decode())
            except UnicodeDecodeError as error:
                raise InvalidArgumentError(
                    "payload", payload[:20], f"must be UTF-8: {error.reason}"
                ) from None
        case other:
            raise InvalidArgumentError("modality", other, f"must be one of {', '.join(Modality)}")


def _metadata(text: str | None) -> dict[str, Any]:
    try:
        metadata: dict[str, Any] = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError("item.metadata", text, f"must be JSON: {error}") from None
    return metadata
