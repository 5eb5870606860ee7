"""How well does a space tell identities apart? Queries and a gallery from labelled items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError
from embeddb.progress import Step
from embeddb.query import Metric
from embeddb.questions import MAX_GALLERY, Evaluate, Metrics
from embeddb.search.fields import Label
from embeddb.search.metrics import metrics
from embeddb.search.reciprocal import reciprocal_distances
from embeddb.search.scoring import unit_rows
from embeddb.selection import Selection
from embeddb.space import Space

__all__ = ["evaluate_space"]

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Items with an identity.

    Attributes:
        metric: how their vectors are compared.
        rows: (n,) int64.
        vectors: (n, d), of unit length where they are compared by the cosine.
        identities: (n,) numbers that are equal where the labels are.
        cameras: (n,) likewise; -1 where there is none, which is no camera.
    """

    metric: Metric
    rows: npt.NDArray[np.int64]
    vectors: Doubles
    identities: Places
    cameras: Places


def evaluate_space(
    question: Evaluate,
    space: Space,
    selection: Selection,
    identities: Mapping[int, Label],
    cameras: Mapping[int, Label],
    step: Step,
) -> Metrics:
    """Rank the gallery for every query, and sum up.

    Args:
        identities: the labels by row.
        cameras: the cameras by row, of those that have one.

    Raises:
        InvalidArgumentError: a filter is none, or centring or re-ranking needs the cosine.
        FailedPreconditionError: there is no labelled query, or none with a match, or there are too many,
            or too large a gallery.
    """
    if question.rerank is not None:
        space.need_cosine("rerank", question.rerank)
    queries_rows = _chosen(identities, selection, question.queries)
    gallery_rows = _chosen(identities, selection, question.gallery)
    # Before any vector is read: there may be millions.
    if not len(queries_rows) or max(len(queries_rows), len(gallery_rows)) > MAX_GALLERY:
        raise FailedPreconditionError(
            f"an evaluation needs labelled queries and a gallery, of at most {MAX_GALLERY:,} items each, and "
            f"there are {len(queries_rows):,} queries and {len(gallery_rows):,} items; choose them with "
            f"filters"
        )
    rows = np.union1d(queries_rows, gallery_rows)
    items = _labelled(space, rows, identities, cameras, question.center)
    chosen = np.flatnonzero(np.isin(items.rows, queries_rows))
    gallery = np.flatnonzero(np.isin(items.rows, gallery_rows))
    matches = []
    asked = 0
    for query, shots in _queries(question, items, chosen):
        step("ranking", asked, len(chosen))
        asked += len(shots)
        matches.append(_matches(question, items, gallery, query, shots))
    return metrics(matches, len(gallery), question.ranks)


def _chosen(identities: Mapping[int, Label], selection: Selection, condition: str) -> Places:
    """The labelled rows that satisfy a filter."""
    rows = np.fromiter(identities, np.int64, len(identities))
    return np.intersect1d(rows, selection.rows(condition)) if condition else rows


def _labelled(
    space: Space,
    rows: Places,
    identities: Mapping[int, Label],
    cameras: Mapping[int, Label],
    center: bool,
) -> _Labelled:
    rows, vectors = space.points(rows.tolist(), center=center)
    numbers: dict[tuple[bool, Label | None], int] = {(False, None): -1}

    def number(label: Label | None) -> int:
        # In Python true equals 1, and in JSON it does not.
        return numbers.setdefault((isinstance(label, bool), label), len(numbers))

    living = rows.tolist()
    return _Labelled(
        space.metric,
        rows,
        vectors,
        np.array([number(identities[row]) for row in living], np.intp),
        np.array([number(cameras.get(row)) for row in living], np.intp),
    )


def _queries(question: Evaluate, items: _Labelled, chosen: Places) -> Iterator[tuple[Doubles, Places]]:
    """The vector of each query, and the places of the items that it is made of."""
    if not question.multi_shot:
        for place in chosen.tolist():
            yield items.vectors[place], np.array([place])
        return
    keys = np.stack([items.identities[chosen], items.cameras[chosen]], axis=1)
    _, groups = np.unique(keys, axis=0, return_inverse=True)
    for group in range(int(groups.max()) + 1):
        shots = chosen[groups.ravel() == group]
        mean = items.vectors[shots].mean(axis=0, keepdims=True)
        yield (unit_rows(mean) if items.metric is Metric.COSINE else mean)[0], shots


def _matches(
    question: Evaluate, items: _Labelled, gallery: Places, query: Doubles, shots: Places
) -> npt.NDArray[np.bool_]:
    """Which places of a query's ranking show its identity, best first."""
    identity, camera = items.identities[shots[0]], items.cameras[shots[0]]
    same = items.identities[gallery] == identity
    passed_over = np.isin(gallery, shots)
    if camera >= 0:
        passed_over |= same & (items.cameras[gallery] == camera)
    gallery, same = gallery[~passed_over], same[~passed_over]
    order = np.argsort(-_scores(items.metric, query, items.vectors[gallery]), kind="stable")
    if question.rerank is not None:
        first = order[: question.shortlist]
        distances = reciprocal_distances(query, items.vectors[gallery[first]], question.rerank)
        order = np.concatenate([first[np.argsort(distances, kind="stable")], order[question.shortlist :]])
    found: npt.NDArray[np.bool_] = same[order]
    return found


def _scores(metric: Metric, query: Doubles, vectors: Doubles) -> Doubles:
    """How near vectors (n, d) are to one (d,), (n,): as the space's index would say it."""
    if metric is Metric.L2:
        distances: Doubles = np.linalg.norm(vectors - query, axis=1)
        return -distances
    similarities: Doubles = vectors @ query
    return similarities
