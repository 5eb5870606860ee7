"""Items as files of TensorBoard's projector: their features, metadata and thumbnails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embeddb.calls import CollectionCalls
from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.query import Image, View
from embeddb_client.sheet import Sheet, fetch

__all__ = ["write_projector"]

SHEET = 8192
"""The largest sides of a sprite that the projector takes, in pixels."""
LARGEST = 100
"""The largest side of a thumbnail, in pixels."""


def write_projector(
    folder: Path,
    collection: CollectionCalls,
    item_ids: Sequence[str],
    model: str,
    *,
    labels: Mapping[str, int] | None = None,
) -> int:
    """Write what `tensorboard --logdir FOLDER` shows under "Projector".

    `projector_config.pbtxt` names `vectors.tsv` (a line an item), `metadata.tsv` (likewise, below a line of
    names) and `sprite.png` (the thumbnails, in rows), as TensorBoard's projector_config.proto defines them.
    Beside `id` and `cluster`, the columns of the metadata are the items' keys; of those, one of these names
    becomes `metadata.id` or `metadata.cluster`.

    Args:
        folder: is made if it is not there; files of these names in it are replaced.
        item_ids: which items; those that were deleted or have no features of the model are left out.
        model: whose features.
        labels: the cluster of items by id, a column of the metadata.

    Returns:
        How many items were written.

    Raises:
        FailedPreconditionError: none of the items has features of the model.
        InvalidArgumentError: the files cannot be written.
    """
    vectors: list[str] = []
    rows: list[dict[str, Any]] = []
    pictures = False
    sheet = Sheet(len(item_ids), 1)
    sheet = Sheet(len(item_ids), max(1, min(LARGEST, SHEET // sheet.columns)))
    dimension = 0
    for _, item in fetch(collection, item_ids, View(payload=True, features=True)):
        if model not in item.features:
            continue
        dimension = len(item.features[model])
        if isinstance(item.payload, Image):
            pictures |= sheet.put(len(rows), item.payload)
        vectors.append("\t".join(map(str, item.features[model])))
        cluster = {"cluster": labels[item.id]} if labels and item.id in labels else {}
        ours = ("id", "cluster") if labels else ("id",)
        metadata = {f"metadata.{key}" if key in ours else key: each for key, each in item.metadata.items()}
        rows.append({"id": item.id, **metadata, **cluster})
    if not rows:
        raise FailedPreconditionError(f"no item has features of model {model!r} that could be written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vectors.tsv").write_text("\n".join(vectors) + "\n", encoding="utf-8")
        (folder / "metadata.tsv").write_text(_table(rows), encoding="utf-8")
        if pictures:
            sheet.picture.save(folder / "sprite.png")
        config = _config(collection.name, model, (len(rows), dimension), sheet.side if pictures else None)
        (folder / "projector_config.pbtxt").write_text(config, encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError("folder", str(folder), f"cannot be written: {error.strerror}") from None
    return len(rows)


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows below a line of the names of their keys. A table of one column alone has none by definition."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["\t".join(map(_cell, names))] if len(names) > 1 else []
    lines += ["\t".join(_cell(row.get(name, "")) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    """A value on one line without tabs."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split())


def _config(collection: str, model: str, shape: tuple[int, int], side: int | None) -> str:
    # Names hold letters, digits, dots, dashes and underscores: nothing that the text format would escape.
    lines = [
        "embeddings {",
        f'  tensor_name: "{collection} {model}"',
        '  tensor_path: "vectors.tsv"',
        f"  tensor_shape: {shape[0]}",
        f"  tensor_shape: {shape[1]}",
        '  metadata_path: "metadata.tsv"',
    ]
    if side is not None:
        lines += [
            "  sprite {",
            '    image_path: "sprite.png"',
            f"    single_image_dim: {side}",
            f"    single_image_dim: {side}",
            "  }",
        ]
    return "\n".join([*lines, "}"]) + "\n"
