"""The calls that a collection answers, in process and over gRPC alike.

The engine's `Collection` and the client's implement the batch calls; the everyday calls on one item are
written once, here, on top of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy.typing as npt

from embeddb.arguments import checked
from embeddb.errors import EmbeddbError, or_raise
from embeddb.options import Arithmetic
from embeddb.query import (
    DEFAULT_K,
    Backfill,
    CollectionInfo,
    Hits,
    ItemPage,
    PutItem,
    PutResults,
    PutStatus,
    Search,
    StoredItem,
    View,
)
from embeddb.questions import Compare, OnProgress, Question, Verdict

__all__ = ["CollectionCalls"]

A = TypeVar("A")


class CollectionCalls(ABC):
    """A collection, wherever it is. Thread-safe.

    What a call can raise is part of it: `NotFoundError` for an unknown id, model or collection,
    `InvalidArgumentError` for a malformed field. The `_many` calls raise only for the batch as a whole and
    give each element's own error in its place.
    """

    name: str

    # -- One item ---------------------------------------------------------------------------------------

    def put(
        self,
        item_id: str,
        content: object = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        features: Mapping[str, npt.ArrayLike] | None = None,
    ) -> PutStatus:
        """Embed and store one item, replacing what had its id. When it returns, searches see it.

        Args:
            item_id: 1 to 480 bytes of UTF-8.
            content: an `Image` or `Text`, or what makes one: a `Path`, bytes, PIL image or (h, w[, 3 or 4])
                uint8 array makes an image, a string makes a text.
            metadata: a JSON object.
            features: precomputed vectors by model name, (d,) each; they take the place of encoding.

        Returns:
            Whether it was created, replaced or unchanged.

        Raises:
            InvalidArgumentError: a field is malformed, or no model of the collection encodes the content.
        """
        item = PutItem(
            item_id, content, {} if metadata is None else metadata, {} if features is None else features
        )
        result = self.put_many([item])[0]
        if result.error is not None:
            raise result.error
        return result.status

    def get(
        self,
        item_id: str,
        *,
        with_payload: bool = False,
        with_features: bool = False,
        with_predictions: bool = False,
    ) -> StoredItem:
        """Return one item.

        Raises:
            NotFoundError: there is none of that id.
        """
        view = View(with_payload, with_features, with_predictions)
        return or_raise(self.get_many([item_id], view=view)[0])

    def delete(self, item_id: str) -> None:
        """Delete one item. When it returns, searches do not find it.

        Raises:
            NotFoundError: there is none of that id.
        """
        error = self.delete_many([item_id])[0]
        if error is not None:
            raise error

    def search(
        self,
        expression: object,
        k: int = DEFAULT_K,
        *,
        model: str | None = None,
        include_operands: bool = False,
        with_payload: bool = False,
        with_features: bool = False,
        with_predictions: bool = False,
        **options: Any,
    ) -> Hits:
        """Find the items nearest to an expression.

        Args:
            expression: an `Expression`, or what makes one: a string is a text, a path, bytes or a picture an
                image, a sequence of numbers a vector.
            k: how many hits at most.
            model: whose space to search; None for the collection's first model.
            include_operands: whether items that the expression names may be among the hits.
            with_payload: whether hits carry their payloads.
            with_features: whether hits carry their vectors.
            with_predictions: whether hits carry their class predictions.
            options: any other field of `Search`, such as `explain=True`.

        Returns:
            Nearest first. Their `ids` and `scores` can be read without an object for each hit.

        Raises:
            InvalidArgumentError: the expression does not fit the space, or sums to zero; k is out of range.
            NotFoundError: no such model here, or no item of an id that the expression names.
        """
        view = View(with_payload, with_features, with_predictions)
        question = Search((expression,), k, model, include_operands, view, **options)
        return or_raise(self.search_many(question)[0])

    def compare(
        self, a: object, b: object, *, model: str | None = None, arithmetic: Arithmetic | None = None
    ) -> float:
        """How alike two expressions are: the cosine of one to the other, -1 to 1.

        Raises:
            InvalidArgumentError: an expression does not fit the space, or sums to zero.
            NotFoundError: no such model here, or no item of an id that an expression names.
        """
        return float(self.ask(Compare((a,), (b,), model, arithmetic or Arithmetic()))[0, 0])

    @checked
    def verify(
        self,
        a: object,
        b: object,
        threshold: float,
        *,
        model: str | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> Verdict:
        """Whether two expressions show the same: a face, a signature, a product.

        Args:
            threshold: the lowest similarity at which they do; `ask(Calibrate(...))` finds it.

        Raises:
            InvalidArgumentError: an expression does not fit the space, or sums to zero.
            NotFoundError: no such model here, or no item of an id that an expression names.
        """
        similarity = self.compare(a, b, model=model, arithmetic=arithmetic)
        return Verdict(similarity >= threshold, similarity, threshold)

    def items(self, *, prefix: str = "", view: View | None = None) -> Iterator[StoredItem]:
        """Iterate over the items in the order of their ids, page by page."""
        token = ""
        while True:
            page = self.list_items(page_token=token, prefix=prefix, view=view)
            yield from page.items
            token = page.next_token
            if not token:
                return

    # -- Batches ----------------------------------------------------------------------------------------

    @abstractmethod
    def put_many(
        self,
        items: Iterable[PutItem],
        *,
        on_progress: Callable[[PutResults], None] | None = None,
    ) -> PutResults:
        """Embed and store items; each succeeds or fails alone, as if it were put after those before it.

        Args:
            items: consumed in batches, so it may be a generator over more than fits in memory. A batch is put
                once it is full or the generator has ended; an item of a generator that seldom gives one waits
                until then, and belongs in a call of its own.
            on_progress: called with the results of each batch once it is durable and searchable, while the
                next one is under way; so a generator must not wait for it before it gives more.

        Returns:
            One result an item, in their order; `failed` has those of the items that were not stored.

        Raises:
            EmbeddbError: the server failed as a whole. What was reported is stored; putting all items again
                costs nothing for those.
        """

    @abstractmethod
    def get_many(
        self, item_ids: Sequence[str], *, view: View | None = None
    ) -> list[StoredItem | EmbeddbError]:
        """Return items in the order asked for.

        A `NotFoundError` stands in the place of each that is not there, and an `InvalidArgumentError` in the
        place of what is not an id.
        """

    @abstractmethod
    def delete_many(self, item_ids: Sequence[str]) -> list[EmbeddbError | None]:
        """Delete items; an error stands in the place of each that was not deleted, as in `get_many`."""

    @abstractmethod
    def delete_where(
        self,
        filter: str,  # noqa: A002 - the name of it in `Search`, too
        *,
        dry_run: bool = False,
    ) -> int:
        """Delete the items that satisfy a filter, as it finds them now; see `embeddb.search.filter`.

        Batches are deleted one after the other: if one fails, those before it are gone, and the call can be
        made again.

        Args:
            dry_run: whether only to count them, and delete none.

        Returns:
            How many were deleted, or would have been.

        Raises:
            InvalidArgumentError: it is not a filter, or compares what cannot be compared.
        """

    @abstractmethod
    def list_items(
        self, *, page_size: int = 100, page_token: str = "", prefix: str = "", view: View | None = None
    ) -> ItemPage:
        """Return a page of the items in the order of their ids, those that begin with `prefix`.

        Args:
            page_size: how many at most, 1 to `MAX_PAGE`; with payloads, fewer where these are large.
            page_token: `next_token` of the page before; any other id stands for the place where it would be.
            prefix: of ids; one that is longer than an id may be is the prefix of none.

        Raises:
            InvalidArgumentError: no page is as large.
        """

    @abstractmethod
    def search_many(self, search: Search) -> list[Hits | EmbeddbError]:
        """Answer a batch of expressions, an error in the place of each that could not be evaluated."""

    @abstractmethod
    def ask(self, question: Question[A], *, on_progress: OnProgress | None = None) -> A:
        """Answer one of the questions in `embeddb.questions`, each of which says what its answer is.

        Args:
            on_progress: told how far a long answer has come: of `Duplicates`, `Evaluate`, `Clusters`, `Map`.

        Raises:
            EmbeddbError: it cannot be answered, as a whole.
        """

    @abstractmethod
    def add_model(self, model: str) -> None:
        """Add a registered model to those that embed the items.

        What a put under way meanwhile writes is backfilled, and the space can be searched after that.

        Raises:
            NotFoundError: no such model.
            AlreadyExistsError: it is one of them already.
            FailedPreconditionError: there are items already, which it has not embedded; `backfill` does that.
        """

    @abstractmethod
    def backfill(self, model: str) -> Backfill:
        """Embed the stored items that lack a model's features, in the background.

        A registered model that is not one of the collection's becomes one: it embeds what is put from now on
        at once, and its space can be searched as soon as the backfill is complete; the others serve
        meanwhile. A backfill that is cut off goes on when the collection is opened again. Run again, it tries
        what could not be embedded before.

        Returns:
            How far it has come; see `backfills`.

        Raises:
            NotFoundError: no such model.
        """

    @abstractmethod
    def backfills(self) -> list[Backfill]:
        """Return how far each backfill has come that ran since the collection was opened."""

    @abstractmethod
    def drop_model(self, model: str, *, replaced_by: str | None = None, force: bool = False) -> None:
        """Drop a model with its features; it stays registered.

        Args:
            model: one of the collection's.
            replaced_by: another one, such as a new version, that takes its place in the order of models.
            force: whether searches may lose the items that have features of this model and none of the one
                in its place.

        Raises:
            NotFoundError: the collection has no such model.
            FailedPreconditionError: the other one has not embedded every item that this one has.
        """

    @abstractmethod
    def info(self) -> CollectionInfo:
        """Return the collection's models and how many items it holds."""
