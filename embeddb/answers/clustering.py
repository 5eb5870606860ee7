"""Which items of a space belong together?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.annotation import Annotation
from embeddb.errors import FailedPreconditionError
from embeddb.index import Centres
from embeddb.progress import Step
from embeddb.query import Metric
from embeddb.questions import MAX_DENSE, NOISE, Cluster, Clustering, Clusters, Hdbscan, KMeans
from embeddb.search.density import dense_clusters
from embeddb.search.scoring import unit_rows
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore, Record

__all__ = ["find_clusters"]

Rows = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

BLOCK = 4096
# As many items a cluster as FAISS itself takes to find its centre.
SAMPLE_PER_CLUSTER = 256

_Found = tuple[Rows, npt.NDArray[np.int64], Doubles]
"""Rows, the label of each, and the square of its distance to the centre of its cluster."""


def find_clusters(
    question: Clusters,
    space: Space,
    store: CollectionStore,
    selection: Selection,
    annotation: Annotation,
    step: Step,
) -> Clustering:
    """Cluster the items, and store their labels where that is asked for.

    Raises:
        InvalidArgumentError: the filter is none, or centring needs the cosine.
        FailedPreconditionError: there are fewer items than clusters, or too many for HDBSCAN; or
            scikit-learn is not installed.
        CancelledError: the caller went away; labels that are stored already stay.
    """
    rows = space.rows(selection.allowed(question.filter))
    match question.by:
        case KMeans() as by:
            rows, labels, squares = _around_centres(question, by, space, rows, step)
        case Hdbscan() as by:
            rows, labels, squares = _dense(question, by, space, rows, step)
    labels = _by_size(labels)
    records = store.by_rows(rows.tolist())
    living = np.array([record is not None for record in records], np.bool_)
    items = [record for record in records if record is not None]
    labels, squares = labels[living], squares[living]
    by_record = dict(zip(items, labels.tolist(), strict=True))
    return Clustering(
        labels={record.id: label for record, label in by_record.items()},
        clusters=_summed_up(items, labels, squares, question.central),
        inertia=float(squares.sum()) if isinstance(question.by, KMeans) else None,
        written=annotation.write(question.field, by_record, step) if question.field else 0,
    )


def _around_centres(question: Clusters, by: KMeans, space: Space, rows: Rows, step: Step) -> _Found:
    if len(rows) < by.k:
        raise FailedPreconditionError(f"k_means.k: {by.k:,} clusters of {len(rows):,} items cannot be made")
    sampled = np.linspace(0, len(rows) - 1, min(len(rows), by.k * SAMPLE_PER_CLUSTER)).astype(np.intp)
    _, sample = space.points(rows[sampled].tolist(), center=question.center)
    if len(sample) < by.k:
        raise FailedPreconditionError("items were deleted while they were clustered; ask again")
    centres = Centres(sample.astype(np.float32), by, space.metric is Metric.COSINE, step)
    found_rows, found_labels, found_squares = [], [], []
    for start in range(0, len(rows), BLOCK):
        step("assigning", start, len(rows))
        living, points = space.points(rows[start : start + BLOCK].tolist(), center=question.center)
        labels, squares = centres.assign(points.astype(np.float32))
        found_rows.append(living)
        found_labels.append(labels)
        found_squares.append(squares)
    return np.concatenate(found_rows), np.concatenate(found_labels), np.concatenate(found_squares)


def _dense(question: Clusters, by: Hdbscan, space: Space, rows: Rows, step: Step) -> _Found:
    if not 0 < len(rows) <= MAX_DENSE:
        raise FailedPreconditionError(
            f"HDBSCAN takes 1 to {MAX_DENSE:,} items, and there are {len(rows):,}; choose them with a "
            f"filter, or use k-means"
        )
    living, points = space.points(rows.tolist(), center=question.center)
    labels = dense_clusters(points, by, step)
    squares = np.zeros(len(labels))
    for label in range(int(labels.max(initial=NOISE)) + 1):
        members = labels == label
        mean = points[members].mean(axis=0, keepdims=True)
        centre = unit_rows(mean) if space.metric is Metric.COSINE else mean
        squares[members] = ((points[members] - centre) ** 2).sum(axis=1)
    return living, labels, squares


def _by_size(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers such that 0 is the largest cluster; of equals the one with the oldest item goes first."""
    names, firsts, counts = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    order = np.lexsort((firsts, -counts))
    numbers = {NOISE: NOISE} | {int(names[place]): number for number, place in enumerate(order.tolist())}
    return np.array([numbers[label] for label in labels.tolist()], np.int64)


def _summed_up(
    items: list[Record], labels: npt.NDArray[np.int64], squares: Doubles, central: int
) -> list[Cluster]:
    order = np.lexsort((squares, labels))
    numbers = np.arange(labels.max(initial=NOISE) + 1)
    starts = np.searchsorted(labels[order], numbers)
    stops = np.searchsorted(labels[order], numbers, side="right")
    return [
        Cluster(
            label, int(stop - start), tuple(items[n].id for n in order[start : min(stop, start + central)])
        )
        for label, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True))
        if stop > start
    ]
