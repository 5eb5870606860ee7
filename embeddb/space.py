"""A space: one model's features within one collection, with their index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embeddb.centre import Centre
from embeddb.errors import (
    DataLossError,
    EmbeddbError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from embeddb.index import Gpu, IndexPolicy, SnapshotFile, SpaceIndex
from embeddb.models import EmbedRequest
from embeddb.options import Arithmetic, Effort
from embeddb.query import CollectionSettings, Embedding, Image, Metric, Modality, SpaceStats, Text
from embeddb.search.scoring import unit_rows
from embeddb.storage import CollectionStore, Committed

__all__ = ["Space", "index_file"]

Floats = npt.NDArray[np.float32]
Embed = Callable[[Sequence[EmbedRequest]], Sequence[dict[str, Embedding] | EmbeddbError]]

log = logging.getLogger(__name__)

NO_ROWS = np.empty(0, np.int64)


class Space:
    """What a search sees of a collection through one model.

    The index is filled from storage when the space is opened, and follows every commit from then on.

    Args:
        model: the model's name.
        dimension: of its features.
        store: the collection's storage, which has a space of that name.
        embed: runs contents through models.
        settings: how its vectors are compared and indexed.
        gpu: where its index is searched, as far as it has room; None for the processor.
    """

    def __init__(
        self,
        model: str,
        dimension: int,
        store: CollectionStore,
        embed: Embed,
        settings: CollectionSettings,
        gpu: Gpu | None,
    ) -> None:
        self.model = model
        self.dimension = dimension
        self.metric = settings.metric
        self._store = store
        self._embed = embed
        self._centre = Centre(model, dimension, store)
        identity = {
            "model": model,
            "fingerprint": store.spaces()[model].fingerprint,
            "dimension": dimension,
            "metric": settings.metric,
            "index": settings.index,
        }
        self._snapshots = SnapshotFile(index_file(store, model), identity)
        policy = IndexPolicy(settings.index, settings.recall)
        self._index = SpaceIndex(
            dimension, settings.metric, policy, model, self._snapshots, settings.encoding, gpu
        )
        self._index.fill(_Stored(store, model), store.count(), store.sequence())

    def apply(self, committed: Committed) -> None:
        """Follow a commit."""
        rows, vectors = committed.added.get(self.model, (NO_ROWS, np.empty((0, self.dimension), np.float32)))
        self._index.update(rows, vectors, committed.removed, committed.sequence)
        self._centre.note(len(rows) + len(committed.removed))

    def encode(self, contents: Sequence[Image | Text]) -> list[Floats | EmbeddbError]:
        """The model's features of contents, in order, an error in the place of each that failed."""
        outcomes = self._embed([EmbedRequest(content, [self.model]) for content in contents])
        return [each if isinstance(each, EmbeddbError) else each[self.model].features for each in outcomes]

    def lookup(self, item_ids: Sequence[str]) -> list[Floats | EmbeddbError]:
        """The stored features of items, in order, an error in the place of each that has none."""
        rows, features = self._store.lookup(self.model, item_ids)
        outcomes: list[Floats | EmbeddbError] = []
        for item_id, row in zip(item_ids, rows, strict=True):
            if row is None:
                outcomes.append(NotFoundError("item", item_id))
            elif row not in features:
                outcomes.append(
                    FailedPreconditionError(f"item {item_id!r} has no features of model {self.model!r}")
                )
            else:
                outcomes.append(features[row])
        return outcomes

    def modalities(self, item_ids: Sequence[str]) -> list[Modality | None]:
        """What kind of thing each item is; None for one of features alone, or one that is not there."""
        return [None if each is None else each.modality for each in self._store.get(item_ids)]

    def mean(self, modality: Modality | None, normalise: bool) -> npt.NDArray[np.float64]:
        """The mean vector of a modality's items; see `Centre.mean`."""
        return self._centre.mean(modality, normalise)

    def placed(
        self, rows: Sequence[int], arithmetic: Arithmetic
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Items as they are compared with queries of an arithmetic.

        Returns:
            Those of the rows that live, (n,) int64 in order, and their vectors (n, dimension) float64: of
            unit length, and centred where the arithmetic says so.
        """
        living, vectors = self._living(rows)
        if not len(living):
            return living, vectors
        placed = unit_rows(vectors) if arithmetic.normalise else vectors
        if arithmetic.center:
            records = self._store.by_rows(living.tolist())
            modalities = [None if each is None else each.modality for each in records]
            means = {each: self.mean(each, arithmetic.normalise) for each in set(modalities)}
            placed = placed - np.stack([means[each] for each in modalities])
        return living, unit_rows(placed)

    def rows(self, allowed: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """The rows that the space holds, (n,) ascending; of these those in `allowed`, if it is given."""
        found = [rows for rows, _ in self._store.scan(self.model)]
        rows = np.concatenate(found) if found else NO_ROWS
        return rows if allowed is None else rows[np.isin(rows, allowed)]

    def points(
        self, rows: Sequence[int], *, center: bool
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Items as points whose Euclidean distances are in the order of the space's metric.

        Returns:
            Those of the rows that live, (n,) int64 in order, and their points (n, dimension): of unit length
            where the space compares by the cosine, otherwise as they are.

        Raises:
            InvalidArgumentError: they are to be centred where only the cosine allows it.
        """
        if self.metric is Metric.COSINE:
            return self.placed(rows, Arithmetic(center=center))
        if center:
            self.need_cosine("center", center)
        return self._living(rows)

    def need_cosine(self, field: str, given: object) -> None:
        """Return if the space compares by the cosine, without which a field has no meaning.

        Raises:
            InvalidArgumentError: it does not; names the field and what was given.
        """
        if self.metric is not Metric.COSINE:
            allowed = f"needs the cosine; this collection compares by {self.metric}"
            raise InvalidArgumentError(field, given, allowed)

    def nearest(
        self,
        queries: Floats,
        k: int,
        allowed: npt.NDArray[np.int64] | None = None,
        effort: Effort = Effort.BALANCED,
        *,
        here: bool = False,
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """The k nearest rows of each query; see `SpaceIndex.search`."""
        return self._index.search(queries, k, allowed, effort, here=here)

    @property
    def is_prompt(self) -> bool:
        """See `SpaceIndex.is_prompt`."""
        return self._index.is_prompt

    def settle(self) -> None:
        """Return when the index is as the settings want it, if nothing is written meanwhile."""
        self._index.settle()

    def close(self) -> None:
        """Answer the searches that wait, and end."""
        self._index.close()

    def drop(self) -> None:
        """End, and delete what the index kept for the next start."""
        self.close()
        self._snapshots.delete()

    def stats(self) -> SpaceStats:
        """The space's figures."""
        return SpaceStats(self.model, len(self._index), self.dimension, repr(self._index), self._index.recall)

    def _living(self, rows: Sequence[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Those of the rows that live, (n,) int64 in order, and their features (n, dimension) float64."""
        features = self._store.features(self.model, rows)
        living = np.array([row for row in rows if row in features], np.int64)
        vectors = np.empty((len(living), self.dimension))
        for place, row in enumerate(living.tolist()):
            vectors[place] = features[row]
        return living, vectors


def index_file(store: CollectionStore, model: str) -> Path:
    """Where a space keeps its index from one start to the next."""
    return store.path / "indexes" / f"{model}.index"


class _Stored:
    """A space's vectors in storage, as its index asks for them; see `embeddb.index.coming.Source`."""

    def __init__(self, store: CollectionStore, model: str) -> None:
        self._store = store
        self._model = model

    def are_dead(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return self._store.are_dead(rows)

    def scan(self, after: int = -1) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        return self._store.scan(self._model, self._report_damage, after=after)

    def read(self, rows: npt.NDArray[np.int64]) -> dict[int, Floats]:
        # The scan tells of all that is damaged.
        return self._store.features(self._model, rows.tolist(), on_damage=lambda *_: None)

    def _report_damage(self, rows: range, error: DataLossError) -> None:
        log.error(
            "%s: the features of model %r in rows %d to %d are damaged, and their items are not found by it; "
            "`embeddb-server verify` names them, and with --repair they can be put again: %s",
            self._store.path,
            self._model,
            rows.start,
            rows.stop - 1,
            error,
        )
