"""Which items of a space are nearly the same?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embeddb.progress import Step
from embeddb.questions import Duplicates
from embeddb.search.components import components
from embeddb.search.scoring import unit_rows
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore

__all__ = ["near_duplicates"]

Rows = npt.NDArray[np.int64]

BLOCK = 256
# More neighbours are asked for where all of so many are near enough.
NEIGHBOURS = 16


def near_duplicates(
    question: Duplicates, space: Space, store: CollectionStore, selection: Selection, step: Step
) -> list[list[str]]:
    """The ids of each group, the oldest first; the largest group first.

    Raises:
        InvalidArgumentError: the filter is none, or the space does not compare by the cosine.
        CancelledError: the caller went away.
    """
    space.need_cosine("threshold", question.threshold)
    allowed_rows = selection.allowed(question.filter)
    groups = components(_pairs(question.threshold, space, store, allowed_rows, step))
    members = [row for group in groups for row in group]
    # A row that was deleted meanwhile is gone from its group.
    ids = {
        row: record.id
        for row, record in zip(members, store.by_rows(members), strict=True)
        if record is not None
    }
    named = [[ids[row] for row in group if row in ids] for group in groups]
    return [group for group in named if len(group) > 1]


def _pairs(
    threshold: float, space: Space, store: CollectionStore, allowed: Rows | None, step: Step
) -> Iterator[tuple[int, int]]:
    """Every two rows that are near enough."""
    done, total = 0, len(space.rows(allowed))
    for rows, vectors in store.scan(space.model):
        if allowed is not None:
            kept = np.isin(rows, allowed)
            rows, vectors = rows[kept], vectors[kept]
        for start in range(0, len(rows), BLOCK):
            # What is put meanwhile may be compared, too.
            step("comparing", done, max(done, total))
            block = rows[start : start + BLOCK]
            done += len(block)
            queries = unit_rows(vectors[start : start + BLOCK]).astype(np.float32)
            scores, found = _near(space, queries, threshold, allowed)
            for place, neighbour in np.argwhere((scores >= threshold) & (found >= 0)).tolist():
                if found[place, neighbour] != block[place]:
                    yield int(block[place]), int(found[place, neighbour])


def _near(
    space: Space, queries: npt.NDArray[np.float32], threshold: float, allowed: Rows | None
) -> tuple[npt.NDArray[np.float32], Rows]:
    """The neighbours of each query, as many as it takes to have all above the threshold."""
    k = NEIGHBOURS
    while True:
        scores, rows = space.nearest(queries, k, allowed)
        if not ((scores[:, -1] >= threshold) & (rows[:, -1] >= 0)).any():
            return scores, rows
        k *= 4
