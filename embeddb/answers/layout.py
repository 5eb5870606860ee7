"""Where do the items of a space lie on a map?"""

from __future__ import annotations

import numpy as np

from embeddb.errors import FailedPreconditionError
from embeddb.progress import Step
from embeddb.questions import Layout, Map, Umap
from embeddb.search.projection import pca, umap
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore

__all__ = ["lay_out"]


def lay_out(question: Map, space: Space, store: CollectionStore, selection: Selection, step: Step) -> Layout:
    """Lay the items out, or a sample of them.

    Raises:
        InvalidArgumentError: the filter is none, centring needs the cosine, or there are not more items than
            neighbours.
        FailedPreconditionError: there are no items, or umap-learn is not installed.
        CancelledError: the caller went away.
    """
    rows = space.rows(selection.allowed(question.filter))
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), question.sample)).astype(np.intp)]
    living, points = space.points(chosen.tolist(), center=question.center)
    if not len(living):
        raise FailedPreconditionError(
            "a map needs items, and there are none that have features and are asked for"
        )
    explained = None
    if isinstance(question.by, Umap):
        places = umap(points, question.by, step)
    else:
        places, explained = pca(points)
    records = store.by_rows(living.tolist())
    kept = np.array([record is not None for record in records], np.bool_)
    ids = [record.id for record in records if record is not None]
    return Layout(ids, places[kept], len(rows), explained)
