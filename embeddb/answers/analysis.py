"""What is asked of a collection beside searches, in one space of it."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from embeddb.annotation import Annotation
from embeddb.answers.classification import Classification
from embeddb.answers.clustering import find_clusters
from embeddb.answers.duplicates import near_duplicates
from embeddb.answers.evaluation import evaluate_space
from embeddb.answers.labels import all_labels
from embeddb.answers.layout import lay_out
from embeddb.errors import InvalidArgumentError
from embeddb.models import Registry
from embeddb.options import Arithmetic
from embeddb.progress import Step
from embeddb.questions import (
    MAX_LABELLED,
    Calibrate,
    Calibration,
    Classify,
    Clusters,
    Compare,
    Duplicates,
    Evaluate,
    Map,
    Question,
)
from embeddb.search.evaluate import vectors_of
from embeddb.search.verification import calibrate
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore

__all__ = ["Analysis"]

A = TypeVar("A")

Floats = npt.NDArray[np.float32]


class Analysis:
    """Answers questions in one space.

    Args:
        space: where to look.
        store: the collection's storage.
        selection: the collection's filters.
        registry: runs contents through models.
        annotation: writes into the metadata of items.
        step: told how far a long answer has come.
    """

    def __init__(
        self,
        space: Space,
        store: CollectionStore,
        selection: Selection,
        registry: Registry,
        annotation: Annotation,
        step: Step,
    ) -> None:
        self._space = space
        self._store = store
        self._selection = selection
        self._registry = registry
        self._annotation = annotation
        self._step = step

    def answer(self, question: Question[A]) -> A:
        """Answer a question of any kind.

        Raises:
            InvalidArgumentError: of a kind that this version does not know.
        """
        answer: Any
        match question:
            case Compare():
                answer = self._compare(question)
            case Calibrate():
                answer = self._calibrate(question)
            case Duplicates():
                answer = near_duplicates(question, self._space, self._store, self._selection, self._step)
            case Evaluate():
                cameras = all_labels(self._store, question.camera) if question.camera is not None else {}
                identities = all_labels(self._store, question.field)
                answer = evaluate_space(
                    question, self._space, self._selection, identities, cameras, self._step
                )
            case Classify():
                answer = Classification(
                    question, self._space, self._store, self._selection, self._registry
                ).answer()
            case Clusters():
                answer = find_clusters(
                    question, self._space, self._store, self._selection, self._annotation, self._step
                )
            case Map():
                answer = lay_out(question, self._space, self._store, self._selection, self._step)
            case _:
                allowed = "must be one of the questions in embeddb.questions"
                raise InvalidArgumentError("question", question, allowed)
        return cast(A, answer)

    def _compare(self, question: Compare) -> Floats:
        """The cosines of the expressions to the others, (n, m) float32.

        Raises:
            EmbeddbError: an expression could not be evaluated.
        """
        both = [*question.expressions, *question.others]
        vectors = vectors_of(both, self._space, question.arithmetic)
        n = len(question.expressions)
        others = vectors[n:] if question.others else vectors
        # Rounding can leave a cosine a little beyond 1.
        similarities: Floats = np.clip(vectors[:n] @ others.T, -1.0, 1.0)
        return similarities

    def _calibrate(self, question: Calibrate) -> Calibration:
        """The thresholds that the labelled items give.

        Raises:
            FailedPreconditionError: there are too few labelled items.
        """
        labels = all_labels(self._store, question.field)
        stride = max(1, -(-len(labels) // MAX_LABELLED))
        rows, vectors = self._space.placed(list(labels)[::stride], Arithmetic(center=question.center))
        return calibrate(vectors, [labels[row] for row in rows.tolist()], question.false_accept_rate)
