"""What the catalogue keeps of models and collections: plain data, which storage takes, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embeddb.query import CollectionSettings, Modality, ModelInfo, RunOptions

__all__ = ["CollectionRecord", "model_from", "model_record"]


@dataclass(frozen=True)
class CollectionRecord:
    """What is kept of a collection.

    Attributes:
        settings: what was decided when it was made.
        models: the names of those that embed its items; the first is searched by default.
        filling: the names of those among them that have not embedded all items yet.
    """

    settings: CollectionSettings
    models: tuple[str, ...] = ()
    filling: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The record as plain data."""
        return {
            "models": list(self.models),
            "filling": list(self.filling),
            "settings": asdict(self.settings),
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> CollectionRecord:
        """The record that `plain` gave."""
        # Folders of versions that had no backfills say nothing of them.
        filling = plain.get("filling", ())
        return cls(CollectionSettings(**plain["settings"]), tuple(plain["models"]), tuple(filling))


def model_record(info: ModelInfo) -> dict[str, Any]:
    """What is kept of a model."""
    record = asdict(info)
    # Whether and how it runs is found out anew at each load.
    del record["running"], record["refusal"]
    return record


def model_from(record: Mapping[str, Any]) -> ModelInfo:
    """The model that `model_record` was given."""
    modalities = tuple(Modality(each) for each in record["modalities"])
    # Folders of versions that could not be told how to run a model have no options.
    options = RunOptions(**record.get("options", {}))
    return ModelInfo(**{**record, "modalities": modalities, "options": options})
