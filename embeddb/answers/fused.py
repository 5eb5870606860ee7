"""A search in several spaces at once: one ranking, or a page of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from embeddb.answers.cut import Cut, Found
from embeddb.answers.retrieval import Retrieval
from embeddb.errors import EmbeddbError
from embeddb.options import Fusion, FusionMethod
from embeddb.query import Search
from embeddb.search.fuse import fuse
from embeddb.search.ranking import Ranking
from embeddb.selection import Selection
from embeddb.space import Space
from embeddb.storage import CollectionStore

__all__ = ["FusedRetrieval"]


class FusedRetrieval:
    """Answers one search in several spaces.

    Args:
        search: what is asked.
        fusion: the search's own.
        spaces: where to look, by model name, in the fusion's order.
        store: the collection's storage.
        selection: the collection's filters.
    """

    def __init__(
        self,
        search: Search,
        fusion: Fusion,
        spaces: Mapping[str, Space],
        store: CollectionStore,
        selection: Selection,
    ) -> None:
        self._fusion = fusion
        self._cut = Cut(search, store)
        self._shortlist = search.shortlist
        side_by_side = fusion.method is FusionMethod.SIDE_BY_SIDE
        # To one space alone, a number of candidates that are only fused means nothing.
        kept = search.candidates if side_by_side or search.arithmetic.scores_anew else None
        self._retrievals = {
            model: Retrieval(
                replace(search, fusion=None, model=model, candidates=kept), space, store, selection
            )
            for model, space in spaces.items()
        }

    def answer(self) -> list[Found | EmbeddbError]:
        """Answer every expression; one that one of the spaces cannot evaluate is an error."""
        if self._fusion.method is FusionMethod.SIDE_BY_SIDE:
            return list(self._side_by_side())
        return list(self._fused())

    def _side_by_side(self) -> Iterator[Found | EmbeddbError]:
        for outcomes in zip(*(each.answer() for each in self._retrievals.values()), strict=True):
            error = next((each for each in outcomes if isinstance(each, EmbeddbError)), None)
            yield error or Found.joined(
                [
                    found._replace(models=[model] * len(found.rows))
                    for model, found in zip(self._retrievals, outcomes, strict=True)
                    if not isinstance(found, EmbeddbError)
                ]
            )

    def _fused(self) -> Iterator[Found | EmbeddbError]:
        for outcomes in zip(
            *(each.candidates(self._shortlist) for each in self._retrievals.values()), strict=True
        ):
            rankings = [each for each in outcomes if isinstance(each, Ranking)]
            error = next((each for each in outcomes if isinstance(each, EmbeddbError)), None)
            yield error or self._cut.page(fuse(rankings, self._fusion.method, self._fusion.weights))[0]
