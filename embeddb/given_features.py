"""Features that items come with: whether the spaces that are to hold them can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from embeddb.errors import EmbeddbError, InvalidArgumentError, NotFoundError
from embeddb.index import check_finite_scores
from embeddb.query import CollectionSettings, Encoding, Metric, ModelInfo, PutItem

__all__ = ["GivenFeatures"]

MAX_FLOAT16 = float(np.finfo(np.float16).max)


class GivenFeatures:
    """Checks given features against the spaces of a collection.

    Args:
        collection: its name, for the errors.
        models: those that have a space in it, by name.
        settings: the collection's.
    """

    def __init__(
        self, collection: str, models: Mapping[str, ModelInfo], settings: CollectionSettings
    ) -> None:
        self._collection = collection
        self._models = models
        self._settings = settings

    def refused(self, items: Sequence[PutItem]) -> dict[int, EmbeddbError]:
        """What is wrong with the features of items, by the places of those that have such."""
        given: dict[str, dict[int, npt.NDArray[np.float32]]] = defaultdict(dict)
        for place, item in enumerate(items):
            for model, vector in item.features.items():
                given[model][place] = vector
        refused: dict[int, EmbeddbError] = {}
        for model, vectors in given.items():
            # One look at all of them is twenty times faster than one at each, and finds nothing as a rule.
            if self._fault(model, list(vectors.values())) is None:
                continue
            for place, vector in vectors.items():
                error = self._fault(model, [vector])
                if error is not None:
                    refused.setdefault(place, error)
        return refused

    def _fault(self, model: str, vectors: Sequence[npt.NDArray[np.float32]]) -> EmbeddbError | None:
        """Why a model's space does not take some vectors (d,); None if it takes them all."""
        field, metric = f"item.features[{model}]", self._settings.metric
        info = self._models.get(model)
        if info is None:
            return NotFoundError(f"model of collection {self._collection!r}", model, list(self._models))
        lengths = {len(vector) for vector in vectors} - {info.dimension}
        if lengths:
            allowed = f"must have {info.dimension}, the dimension of model {model!r}"
            return InvalidArgumentError(field, f"{lengths.pop()} dimensions", allowed)
        matrix = np.concatenate(vectors).reshape(len(vectors), -1)
        if self._settings.encoding is Encoding.FLOAT16:
            largest = float(np.abs(matrix).max())
            if largest > MAX_FLOAT16:
                allowed = f"must be within ±{MAX_FLOAT16:g}, which is what float16 holds"
                return InvalidArgumentError(field, largest, allowed)
            matrix = matrix.astype(np.float16).astype(np.float32)
        try:
            check_finite_scores(field, matrix, metric)
        except InvalidArgumentError as error:
            return error
        if metric is Metric.COSINE and not matrix.any(axis=1).all():
            allowed = f"has no direction, and this collection compares by {metric}"
            return InvalidArgumentError(field, "the zero vector", allowed)
        return None
