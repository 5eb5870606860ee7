"""A collection on a server for asyncio: `Collection`'s calls, awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any, TypeVar

import numpy.typing as npt

from embeddb.arguments import check
from embeddb.errors import EmbeddbError, or_raise
from embeddb.options import Arithmetic
from embeddb.query import (
    DEFAULT_K,
    Backfill,
    CollectionInfo,
    Expression,
    Hits,
    Image,
    ItemPage,
    PutItem,
    PutResults,
    PutStatus,
    Search,
    StoredItem,
    View,
    check_name,
    leaves,
)
from embeddb.questions import Compare, OnProgress, Question, Verdict
from embeddb_client import collection_exchanges as exchanges
from embeddb_client.async_connection import AsyncConnection
from embeddb_client.batches import Batch, Cutter, cut_off, fits_beside, parts

__all__ = ["AsyncCollection"]

A = TypeVar("A")
T = TypeVar("T")

# A message of so many expressions is made in less than a millisecond.
FEW = 64


class AsyncCollection:
    """A collection on a server; made by `AsyncClient.collection`.

    Every call is that of `Collection` with the same name: it takes, gives and raises the same. Files of
    pictures are read beside the event loop, in its threads.
    """

    def __init__(self, connection: AsyncConnection, name: str) -> None:
        self._connection = connection
        self.name = check_name("collection.name", name)

    # -- One item ---------------------------------------------------------------------------------------

    async def put(
        self,
        item_id: str,
        content: object = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        features: Mapping[str, npt.ArrayLike] | None = None,
    ) -> PutStatus:
        """Embed and store one item; see `Collection.put`."""
        item = PutItem(
            item_id, content, {} if metadata is None else metadata, {} if features is None else features
        )
        result = (await self.put_many([item]))[0]
        if result.error is not None:
            raise result.error
        return result.status

    async def get(
        self,
        item_id: str,
        *,
        with_payload: bool = False,
        with_features: bool = False,
        with_predictions: bool = False,
    ) -> StoredItem:
        """Return one item; see `Collection.get`."""
        view = View(with_payload, with_features, with_predictions)
        return or_raise((await self.get_many([item_id], view=view))[0])

    async def delete(self, item_id: str) -> None:
        """Delete one item; see `Collection.delete`."""
        error = (await self.delete_many([item_id]))[0]
        if error is not None:
            raise error

    async def search(
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
        """Find the items nearest to an expression; see `Collection.search`."""
        view = View(with_payload, with_features, with_predictions)
        search = Search((expression,), k, model, include_operands, view, **options)
        return or_raise((await self.search_many(search))[0])

    async def compare(
        self, a: object, b: object, *, model: str | None = None, arithmetic: Arithmetic | None = None
    ) -> float:
        """How alike two expressions are; see `Collection.compare`."""
        return float((await self.ask(Compare((a,), (b,), model, arithmetic or Arithmetic())))[0, 0])

    async def verify(
        self,
        a: object,
        b: object,
        threshold: float,
        *,
        model: str | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> Verdict:
        """Whether two expressions show the same; see `Collection.verify`."""
        check("threshold", threshold, float)
        similarity = await self.compare(a, b, model=model, arithmetic=arithmetic)
        return Verdict(similarity >= threshold, similarity, threshold)

    async def items(self, *, prefix: str = "", view: View | None = None) -> AsyncIterator[StoredItem]:
        """Iterate over the items, page by page; see `Collection.items`."""
        token = ""
        while True:
            page = await self.list_items(page_token=token, prefix=prefix, view=view)
            for item in page.items:
                yield item
            token = page.next_token
            if not token:
                return

    # -- Batches ----------------------------------------------------------------------------------------

    async def put_many(
        self,
        items: Iterable[PutItem] | AsyncIterable[PutItem],
        *,
        on_progress: Callable[[PutResults], None] | None = None,
    ) -> PutResults:
        """Embed and store items; see `Collection.put_many`. They may come from an async generator, too.

        Two batches are under way at most, so that a generator is asked for more only as the server keeps up.
        If the call fails or is cancelled, batches under way are cancelled.
        """
        check("items", items, Iterable[PutItem] | AsyncIterable[PutItem])
        results: list[PutResults] = []
        under_way: deque[tuple[Set[str], asyncio.Task[PutResults]]] = deque()

        async def finish_oldest() -> None:
            _, task = under_way.popleft()
            finished = await task
            results.append(finished)
            if on_progress is not None:
                on_progress(finished)

        try:
            async for batch in _batches(items):
                ids = {each.id for each in batch}
                while not fits_beside([others for others, _ in under_way], ids):
                    await finish_oldest()
                exchange = exchanges.put_items(self.name, batch)
                under_way.append((ids, asyncio.create_task(self._connection.send(exchange))))
                await asyncio.sleep(0)  # It is sent before the next batch is made.
            while under_way:
                await finish_oldest()
        except EmbeddbError as error:
            raise cut_off(error, PutResults.joined(results)) from None
        finally:
            tasks = [task for _, task in under_way]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return PutResults.joined(results)

    async def get_many(
        self, item_ids: Sequence[str], *, view: View | None = None
    ) -> list[StoredItem | EmbeddbError]:
        """Return items in the order asked for; see `Collection.get_many`."""
        return [
            each
            for part in parts(item_ids, view)
            for each in await self._connection.send(exchanges.get_items(self.name, part, view))
        ]

    async def delete_many(self, item_ids: Sequence[str]) -> list[EmbeddbError | None]:
        """Delete items; see `Collection.delete_many`."""
        return [
            each
            for part in parts(item_ids)
            for each in await self._connection.send(exchanges.delete_items(self.name, part))
        ]

    async def delete_where(self, filter: str, *, dry_run: bool = False) -> int:  # noqa: A002 - as in `Search`
        """Delete the items that satisfy a filter; see `Collection.delete_where`."""
        return await self._connection.send(exchanges.delete_by_filter(self.name, filter, dry_run))

    async def list_items(
        self, *, page_size: int = 100, page_token: str = "", prefix: str = "", view: View | None = None
    ) -> ItemPage:
        """Return a page of the items; see `Collection.list_items`."""
        exchange = exchanges.list_items(self.name, page_size, page_token, prefix, view)
        return await self._connection.send(exchange)

    async def search_many(self, search: Search) -> list[Hits | EmbeddbError]:
        """Answer a batch of expressions; see `Collection.search_many`."""
        exchange = await _made_of(search, partial(exchanges.search_items, self.name))
        return await self._connection.send(exchange)

    async def stream_search(
        self, searches: Iterable[Search] | AsyncIterable[Search]
    ) -> AsyncIterator[list[Hits | EmbeddbError]]:
        """Answer searches on one open stream, in order; see `Collection.stream_search`."""

        stream = exchanges.SearchStream(self.name)

        async def requests() -> AsyncIterator[Any]:
            async for search in _each(searches):
                yield await _made_of(search, stream.request)

        async for response in self._connection.stream(self._connection.search.StreamSearch, requests()):
            yield stream.found(response)

    async def ask(self, question: Question[A], *, on_progress: OnProgress | None = None) -> A:
        """Answer a question; see `Collection.ask`."""
        exchange = await asyncio.to_thread(exchanges.ask, self.name, question)
        if exchange.streamed:
            return await self._connection.follow(exchange, on_progress)
        return await self._connection.send(exchange)

    async def add_model(self, model: str) -> None:
        """Add a registered model to those that embed the items; see `Collection.add_model`."""
        await self._connection.send(exchanges.add_model(self.name, model))

    async def backfill(self, model: str) -> Backfill:
        """Embed the stored items that lack a model's features; see `Collection.backfill`."""
        return await self._connection.send(exchanges.start_backfill(self.name, model))

    async def backfills(self) -> list[Backfill]:
        """Return how far the backfills are; see `Collection.backfills`."""
        return await self._connection.send(exchanges.list_backfills(self.name))

    async def drop_model(self, model: str, *, replaced_by: str | None = None, force: bool = False) -> None:
        """Drop a model with its features; see `Collection.drop_model`."""
        await self._connection.send(exchanges.drop_model(self.name, model, replaced_by, force))

    async def info(self) -> CollectionInfo:
        """Return the collection's models and how many items it holds."""
        return await self._connection.send(exchanges.get_collection(self.name))


async def _made_of(search: Search, make: Callable[[Search], T]) -> T:
    """What is made of a search: here if that takes no longer than to hand it to a thread."""
    long = isinstance(search, Search) and (len(search.expressions) > FEW or _reads(search.expressions))
    return await asyncio.to_thread(make, search) if long else make(search)


def _reads(expressions: Sequence[Expression]) -> bool:
    """Whether pictures are among them, which may have to be read from files."""
    return any(isinstance(leaf, Image) for each in expressions for leaf in leaves(each))


async def _batches(items: Iterable[PutItem] | AsyncIterable[PutItem]) -> AsyncIterator[Batch]:
    cutter = Cutter()
    async for item in _each(items):
        reads = isinstance(item, PutItem) and isinstance(item.content, Image)
        full = await asyncio.to_thread(cutter.add, item) if reads else cutter.add(item)
        if full is not None:
            yield full
    rest = cutter.rest()
    if rest:
        yield rest


async def _each(values: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value
