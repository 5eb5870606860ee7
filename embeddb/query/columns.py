"""Items and hits column by column: what a batch of searches found, before an object is made of each hit.

To make ten objects for each query takes longer than to find what they say; on the wire they are columns too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from embeddb.errors import EmbeddbError
from embeddb.query.items import StoredItem
from embeddb.query.models import Modality, Prediction
from embeddb.query.operands import Floats, Image, Text
from embeddb.query.search import Contribution, Hit

__all__ = ["HitColumns", "ItemColumns"]


@dataclass(frozen=True, eq=False)
class ItemColumns:
    """Stored items; see `StoredItem`. The columns that a view leaves out are empty.

    Attributes:
        ids: one an item.
        metadata_json: one an item.
        modalities: one an item.
        payloads: one an item, or empty.
        features: one an item, or empty.
        predictions: one an item, or empty.
    """

    ids: Sequence[str]
    metadata_json: Sequence[str]
    modalities: Sequence[Modality | None]
    payloads: Sequence[Image | Text | None] = ()
    features: Sequence[Mapping[str, Floats]] = ()
    predictions: Sequence[Mapping[str, Sequence[Prediction]]] = ()

    def part(self, start: int, stop: int) -> ItemColumns:
        """Those from one place to another, not included."""
        of = slice(start, stop)
        return ItemColumns(
            self.ids[of],
            self.metadata_json[of],
            self.modalities[of],
            self.payloads[of],
            self.features[of],
            self.predictions[of],
        )

    def items(self) -> list[StoredItem]:
        """An object for each."""
        return list(
            map(
                StoredItem,
                self.ids,
                self.metadata_json,
                self.modalities,
                self.payloads or repeat(None),
                self.features or repeat(None),
                self.predictions or repeat(None),
            )
        )


@dataclass(frozen=True, eq=False)
class HitColumns:
    """The hits of a batch of expressions, those of one behind those of the one before; see `Hit`.

    Attributes:
        outcomes: one an expression: how many hits it has, or why it could not be evaluated.
        items: one a hit.
        scores: one a hit.
        explanations: one a hit, or empty where none were asked for.
        groups: one a hit, or empty where hits are not grouped.
        models: one a hit, or empty where spaces were not searched side by side.
    """

    outcomes: Sequence[int | EmbeddbError]
    items: ItemColumns
    scores: Sequence[float]
    explanations: Sequence[Sequence[Contribution]] = ()
    groups: Sequence[str | float | bool | None] = ()
    models: Sequence[str] = ()

    def each(self) -> Iterator[HitColumns]:
        """The hits of each expression by themselves."""
        start = 0
        for outcome in self.outcomes:
            stop = start if isinstance(outcome, EmbeddbError) else start + outcome
            of = slice(start, stop)
            yield HitColumns(
                [outcome],
                self.items.part(start, stop),
                self.scores[of],
                self.explanations[of],
                self.groups[of],
                self.models[of],
            )
            start = stop

    def hits(self) -> list[list[Hit] | EmbeddbError]:
        """An object for each hit, those of each expression by themselves."""
        return list(self._of_each(list(self._all())))

    def _all(self) -> Iterator[Hit]:
        return map(
            Hit,
            self.items.items(),
            self.scores,
            self.explanations or repeat(()),
            self.groups or repeat(None),
            self.models or repeat(None),
        )

    def _of_each(self, hits: list[Hit]) -> Iterator[list[Hit] | EmbeddbError]:
        start = 0
        for outcome in self.outcomes:
            if isinstance(outcome, EmbeddbError):
                yield outcome
            else:
                yield hits[start : start + outcome]
                start += outcome
