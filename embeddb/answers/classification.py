"""What are these? Answered by texts, by labelled neighbours, or by the model's own classes."""

from __future__ import annotations

import json

import numpy as np

from embeddb.answers.labels import labels
from embeddb.answers.retrieval import Retrieval
from embeddb.errors import EmbeddbError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from embeddb.models import EmbedRequest, Priority, Registry
from embeddb.options import Arithmetic
from embeddb.query import Expression, Image, Item, Prediction, Search, Text
from embeddb.questions import Classify, Neighbours, OwnClasses, ZeroShot
from embeddb.search.classify import probabilities, vote
from embeddb.search.evaluate import evaluate, vectors_of
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore

__all__ = ["Classification"]

Outcome = list[Prediction] | EmbeddbError


class Classification:
    """Answers one `Classify`.

    Args:
        question: what is asked.
        space: where to look.
        store: the collection's storage.
        selection: the collection's filters.
        registry: runs contents through models.
    """

    def __init__(
        self,
        question: Classify,
        space: Space,
        store: CollectionStore,
        selection: Selection,
        registry: Registry,
    ) -> None:
        self._question = question
        self._space = space
        self._store = store
        self._selection = selection
        self._registry = registry

    def answer(self) -> list[Outcome]:
        """The predictions of each expression, an error in the place of each that cannot be classified.

        Raises:
            InvalidArgumentError: the space's model encodes no texts, and the classes are texts.
            FailedPreconditionError: the model has no scale or no classes of its own.
        """
        match self._question.by:
            case ZeroShot() as by:
                outcomes = self._by_texts(by)
            case Neighbours() as by:
                outcomes = self._by_neighbours(by)
            case OwnClasses():
                outcomes = self._by_own_classes()
        top = self._question.top
        return [each if isinstance(each, EmbeddbError) else each[:top] for each in outcomes]

    def _by_texts(self, by: ZeroShot) -> list[Outcome]:
        scale, bias = self._logits(by)
        classes = vectors_of(by.prototypes, self._space, Arithmetic())
        queries = evaluate(self._question.expressions, self._space, Arithmetic())
        outcomes: list[Outcome] = []
        for query in queries:
            if isinstance(query, EmbeddbError):
                outcomes.append(query)
                continue
            (shares,) = probabilities((classes @ query.vector)[np.newaxis], scale, bias).tolist()
            order = np.argsort([-share for share in shares], kind="stable").tolist()
            outcomes.append([Prediction(by.labels[place], shares[place]) for place in order])
        return outcomes

    def _logits(self, by: ZeroShot) -> tuple[float, float | None]:
        if by.scale is not None:
            return by.scale, None
        logits = self._registry.get(self._space.model).logits
        if logits is None:
            raise FailedPreconditionError(
                f"zero_shot.scale: model {self._space.model!r} has none of its own; give one, such as 100"
            )
        return logits

    def _by_neighbours(self, by: Neighbours) -> list[Outcome]:
        labelled = f"exists(field({json.dumps(by.field)}))"
        search = Search(self._question.expressions, by.k, self._space.model, filter=labelled)
        outcomes: list[Outcome] = []
        for found in Retrieval(search, self._space, self._store, self._selection).answer():
            if isinstance(found, EmbeddbError):
                outcomes.append(found)
                continue
            named = zip(labels(self._store, found.rows, by.field), found.scores, strict=True)
            voters = [(label, score) for label, score in named if label is not None]
            outcomes.append(
                vote([label for label, _ in voters], [score for _, score in voters], by.temperature)
            )
        return outcomes

    def _by_own_classes(self) -> list[Outcome]:
        model = self._space.model
        if not self._registry.get(model).labels:
            raise FailedPreconditionError(f"model {model!r} has no classes of its own")
        return [self._own_classes(expression, model) for expression in self._question.expressions]

    def _own_classes(self, expression: Expression, model: str) -> Outcome:
        match [operand for _, operand in expression.terms]:
            case [Item(item_id)]:
                (record,) = self._store.get([item_id])
                if record is None:
                    return NotFoundError("item", item_id)
                return list(record.predictions.get(model, ()))
            case [Image() | Text() as content]:
                (outcome,) = self._registry.embed([EmbedRequest(content, [model])], Priority.QUERY)
                return outcome if isinstance(outcome, EmbeddbError) else list(outcome[model].predictions)
        return InvalidArgumentError("expression", expression, "must be one image, text or item alone")
