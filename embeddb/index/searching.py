"""One search of a space's index: by the exact scan, by the approximate index, or by both."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embeddb.index.approximate import Approximate
from embeddb.index.codes import CodeMoment
from embeddb.index.contents import State
from embeddb.index.exact import FEW_PLACES, best, scan, scan_all, scan_places
from embeddb.index.gpu import FAULTS
from embeddb.index.policy import IndexPolicy
from embeddb.index.recall import RECALL_K, LiveRecall
from embeddb.index.tail import merged, scan_tail
from embeddb.index.vectors import Allowed
from embeddb.options import Effort

__all__ = ["Question", "Searching"]

Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Up to this share of the places, and so many, those that a filter keeps are copied and scanned alone.
MAX_GATHERED_SHARE = 0.1
MAX_GATHERED = 20_000
# For more hits an index may fall back to a scan, which is not for a caller's thread.
QUICK_K = 100
# So many codes are scanned in less than a millisecond.
QUICK_TAIL = 8192


class Question(NamedTuple):
    """One search; see `SpaceIndex.search`. Its queries are prepared."""

    queries: Floats
    k: int
    allowed: Rows | None
    effort: Effort
    here: bool = False


class Searching:
    """Answers questions of a state. Thread-safe.

    Args:
        policy: how good answers have to be.
        live_recall: compares some of them with exact search.
        fault: told of codes on a GPU that could not be searched.
    """

    def __init__(
        self,
        policy: IndexPolicy,
        live_recall: LiveRecall,
        fault: Callable[[CodeMoment, Exception], None],
    ) -> None:
        self._policy = policy
        self._live_recall = live_recall
        self._fault = fault

    @staticmethod
    def is_prompt(state: State) -> bool:
        """Whether a state answers a lone query at once by its index, and scans little that is not in it."""
        approximate = _approximate_beside(state, FEW_PLACES)
        return approximate is not None and state.moment.coming is None and approximate.is_searchable

    @staticmethod
    def is_quick(state: State, question: Question) -> bool:
        """Whether a question takes the calling thread alone, and no longer than to hand it to another one."""
        lone = question.here or len(question.queries) == 1
        few = lone and question.allowed is None and question.k <= QUICK_K
        most = QUICK_TAIL if len(question.queries) == 1 else FEW_PLACES
        return few and question.effort is not Effort.EXACT and _approximate_beside(state, most) is not None

    def answer(self, state: State, questions: Sequence[Question]) -> list[tuple[Floats, Rows]]:
        """Scores and rows of each question, by one search for all that are alike but for their queries.

        While vectors are coming, an answer may have fewer hits than there are: this thread waits for nothing.
        """
        if len(questions) == 1:
            (one,) = questions
            return [self._found(state, one.queries, one.k, one.allowed, one.effort)]
        alike: dict[tuple[int, Effort], list[int]] = defaultdict(list)
        for number, question in enumerate(questions):
            alike[id(question.allowed), question.effort].append(number)
        answers: dict[int, tuple[Floats, Rows]] = {}
        for numbers in alike.values():
            answers.update(zip(numbers, self._together(state, [questions[n] for n in numbers]), strict=True))
        return [answers[number] for number in range(len(questions))]

    def _together(self, state: State, questions: Sequence[Question]) -> Iterator[tuple[Floats, Rows]]:
        k = max(question.k for question in questions)
        together = np.concatenate([question.queries for question in questions])
        scores, rows = self._found(state, together, k, questions[0].allowed, questions[0].effort)
        start = 0
        for question in questions:
            end = start + len(question.queries)
            yield scores[start:end, : question.k], rows[start:end, : question.k]
            start = end

    def _found(
        self, state: State, queries: Floats, k: int, allowed: Rows | None, effort: Effort
    ) -> tuple[Floats, Rows]:
        scores, places = self._nearest(state, queries, k, allowed, effort)
        known = state.moment.rows
        # A place of -1, for none, takes the last row for the moment; what is none is last.
        rows = known.take(places) if len(known) else np.empty_like(places)
        if -1 in places[:, -1].tolist():
            rows[places < 0] = -1
        return scores, rows

    def _nearest(
        self, state: State, queries: Floats, k: int, rows: Rows | None, effort: Effort
    ) -> tuple[Floats, Places]:
        moment = state.moment
        if rows is not None and len(rows) <= min(MAX_GATHERED, MAX_GATHERED_SHARE * len(moment)):
            # So few are left that to look at each of them, in full precision, is the fastest.
            return scan_places(moment, queries, k, moment.places(rows))
        allowed = moment.allowed(rows)
        if state.approximate is None:
            return self._scan(state, queries, k, allowed)
        if effort is Effort.EXACT:
            return scan_all(moment, queries, k, allowed)
        amount = state.approximate.effort(self._policy.recall_of(effort), k, moment.living.count)
        found, places = _approximately(state, state.approximate, queries, k, allowed, amount)
        whole = moment.coming is None
        if whole and effort is Effort.BALANCED and k >= RECALL_K and self._live_recall.due():
            one = queries[:1]
            self._live_recall.compare(
                places[0, :RECALL_K], lambda: scan_all(moment, one, RECALL_K, allowed)[1][0]
            )
        return found, places

    def _scan(self, state: State, queries: Floats, k: int, allowed: Allowed | None) -> tuple[Floats, Places]:
        """The exact scan of all places, on the processor where the GPU that has the codes fails."""
        try:
            return scan(state.moment, state.codes, queries, k, allowed)
        except FAULTS as error:
            if state.codes.gpu is None:
                raise
            self._fault(state.codes, error)
            return scan_all(state.moment, queries, k, allowed)


def _approximate_beside(state: State, most: int) -> Approximate | None:
    """The approximate index, if no more places than so many are scanned beside it."""
    return state.approximate if len(state.moment.rows) - state.codes.first <= most else None


def _approximately(
    state: State,
    approximate: Approximate,
    queries: Floats,
    k: int,
    allowed: Allowed | None,
    effort: int,
) -> tuple[Floats, Places]:
    moment, first = state.moment, state.codes.first
    count = len(moment)
    present = count if allowed is None else allowed.count
    filtered = None if allowed is moment.living else allowed
    if filtered is not None:
        # The nearest of the few that are left lie farther away, among more lists or candidates.
        effort = round(effort * math.sqrt(count / max(present, 1)))
    found, places = approximate.search(moment, first, queries, k, effort, filtered)
    if first < count:
        lone = scan_tail(moment, first, queries, k, allowed)
        if lone is not None:
            found, places = merged((found, places), lone, k)
        else:
            tail = scan(moment, state.codes, queries, k, allowed)
            found, places = best(np.hstack([found, tail[0]]), np.hstack([places, tail[1]]), k)
    if present and moment.coming is None and -1 in (last := places[:, min(k, present) - 1]).tolist():
        missed = last < 0
        found[missed], places[missed] = scan_all(moment, queries[missed], k, allowed)
    return found, places
