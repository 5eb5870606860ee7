"""A map of items as one self-contained HTML page: thumbnails to pan over, zoom into and look at."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from embeddb.calls import CollectionCalls
from embeddb.errors import InvalidArgumentError
from embeddb.query import Image, Text, View
from embeddb.questions import Layout
from embeddb_client.page import environment, write_text
from embeddb_client.sheet import Sheet, fetch

__all__ = ["write_map"]

SHEET = 4096
"""The sides of the picture with all thumbnails, in pixels; phones show no larger ones."""
LARGEST, SMALLEST = 160, 24
"""The sides of a thumbnail where there are few, and where there are many, in pixels."""
WORDS = 400
"""How much of an item's text and metadata is shown, in characters."""

_Facts = dict[str, Any]


def write_map(
    path: Path,
    title: str,
    collection: CollectionCalls,
    layout: Layout,
    *,
    color: str = "",
    labels: Mapping[str, int] | None = None,
) -> None:
    """Write a page that needs no other file and loads nothing.

    Args:
        path: of the file; its folder has to exist.
        title: of the page.
        collection: whose items they are; their payloads are fetched, a few at a time.
        layout: where they lie.
        color: the key of the metadata that colours points at first; "cluster" where there are labels.
        labels: the cluster of items by id, which points can be coloured by.

    Raises:
        InvalidArgumentError: no item has a value under that key, or the file cannot be written.
    """
    columns = max(1, int(np.ceil(np.sqrt(len(layout.ids)))))
    sheet = Sheet(len(layout.ids), min(LARGEST, max(SMALLEST, SHEET // columns)))
    facts = _facts(collection, layout, sheet, labels or {})
    fields = _fields(facts["metadata"])
    if color and color not in fields:
        allowed = f"must be a key with few values: {', '.join(fields) or 'there is none'}"
        raise InvalidArgumentError("color", color, allowed)
    data = {
        "points": np.round(_in_unit_square(layout.points), 5).tolist(),
        "fields": {field: [each.get(field) for each in facts["metadata"]] for field in fields},
        "color": color or ("cluster" if labels else ""),
        "side": sheet.side,
        "columns": sheet.columns,
        **{key: facts[key] for key in ("ids", "words", "shown", "pictured")},
    }
    page = environment().get_template("map.html")
    write_text(path, page.render(title=title, data=data, sheet=_as_jpeg(sheet.picture)))


def _facts(collection: CollectionCalls, layout: Layout, sheet: Sheet, labels: Mapping[str, int]) -> _Facts:
    """What the page says of each item, by what it is about."""
    count = len(layout.ids)
    facts: _Facts = {
        "ids": list(layout.ids),
        "words": [""] * count,
        "shown": [""] * count,
        "pictured": [False] * count,
        "metadata": [{} for _ in range(count)],
    }
    for place, item in fetch(collection, layout.ids, View(payload=True)):
        metadata = dict(item.metadata) | ({"cluster": labels[item.id]} if item.id in labels else {})
        facts["metadata"][place] = metadata
        facts["shown"][place] = json.dumps(metadata, ensure_ascii=False)[:WORDS] if metadata else ""
        if isinstance(item.payload, Text):
            facts["words"][place] = item.payload.text[:WORDS]
        elif isinstance(item.payload, Image):
            facts["pictured"][place] = sheet.put(place, item.payload)
    return facts


def _fields(metadata: list[dict[str, Any]]) -> list[str]:
    """The keys whose values tell items apart, and are not different for nearly every one."""
    values: dict[str, list[str | float | bool]] = {}
    for each in metadata:
        for key, value in each.items():
            if isinstance(value, str | int | float | bool):
                values.setdefault(key, []).append(value)
    return sorted(
        key
        for key, found in values.items()
        if all(isinstance(value, int | float) for value in found)
        or len(set(found)) <= max(12, len(metadata) // 2)
    )


def _in_unit_square(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Points between 0 and 1, as far apart in one direction as in the other, y downwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    width = float((high - low).max()) or 1.0
    centred = (points - (low + high) / 2) / width + 0.5
    placed: np.ndarray[Any, Any] = np.column_stack([centred[:, 0], 1 - centred[:, 1]]).astype(float)
    return placed


def _as_jpeg(picture: PilImage.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
