"""embeddb: a database whose columns are neural networks.

    import embeddb
    from embeddb import Image, Text

    with embeddb.open("data") as db:
        photos = db.collection()
        photos.search(Image("cat.jpg") - Text("a cat") + Text("an elephant"))

This module is light: importing it brings numpy and Pillow. `open` needs the extra `engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from embeddb.options import Arithmetic, Combine, Diversify, Effort, Fusion, Group, KReciprocal
from embeddb.presets import analogy, away_from, between, direction, mean, recommend
from embeddb.query import (
    CollectionSettings,
    Expression,
    Hit,
    Hits,
    Image,
    Item,
    Modality,
    PutItem,
    RunOptions,
    Search,
    Text,
    Vector,
    unit,
)
from embeddb.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from embeddb.database import Database
    from embeddb.models import ModelSettings
    from embeddb.storage import Durability

__all__ = [
    "Arithmetic",
    "CollectionSettings",
    "Combine",
    "Diversify",
    "Effort",
    "Expression",
    "Fusion",
    "Group",
    "Hit",
    "Hits",
    "Image",
    "Item",
    "KReciprocal",
    "Modality",
    "PutItem",
    "RunOptions",
    "Search",
    "Text",
    "Vector",
    "__version__",
    "analogy",
    "away_from",
    "between",
    "direction",
    "mean",
    "open",
    "recommend",
    "unit",
]


def open(  # noqa: A001 - the field's name for this
    path: str | Path,
    *,
    models: ModelSettings | None = None,
    durability: Durability | Literal["sync", "async"] = "sync",
    index_device: str = "auto",
) -> Database:
    """Open the data folder at `path` in this process, making it if it is not there.

    Args:
        path: the data folder.
        models: what the operator decides about models; the defaults if None.
        durability: "sync": a write is on the disk when it returns. "async": within about a second; a crash of
            the process loses nothing, but a power failure may lose the last writes or damage the folder.
        index_device: where indexes are searched: "cpu", "cuda", "cuda:1" and so on; "auto" takes the first
            GPU, if there is one. What has no room there is searched by the processor (see docs/index.md).

    Raises:
        ImportError: the engine is not installed; the message says what to install.
        FailedPreconditionError: another process has it open, or its format is newer than this version.
        DataLossError: its files are damaged.
        InvalidArgumentError: the path is none, or the device is not written like these.
    """
    try:
        from embeddb.database import Database
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "embeddb":
            raise
        message = f"embeddb.open needs the engine ({error.name} is missing): pip install 'embeddb[engine]'"
        raise ImportError(message) from error
    return Database(path, models=models, durability=durability, index_device=index_device)
