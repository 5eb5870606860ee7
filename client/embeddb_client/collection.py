"""A collection on a server: the same calls as the engine's own, over gRPC."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import TypeVar

from embeddb.arguments import checked
from embeddb.calls import CollectionCalls
from embeddb.errors import EmbeddbError
from embeddb.query import (
    Backfill,
    CollectionInfo,
    Hits,
    ItemPage,
    PutItem,
    PutResults,
    Search,
    StoredItem,
    View,
    check_name,
)
from embeddb.questions import OnProgress, Question
from embeddb_client import collection_exchanges as exchanges
from embeddb_client.batches import batches, cut_off, fits_beside, parts
from embeddb_client.connection import Connection, UnderWay

__all__ = ["Collection"]

A = TypeVar("A")


class Collection(CollectionCalls):
    """A collection on a server; made by `Client.collection`."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = check_name("collection.name", name)

    @checked
    def put_many(  # noqa: D102 - documented in CollectionCalls
        self,
        items: Iterable[PutItem],
        *,
        on_progress: Callable[[PutResults], None] | None = None,
    ) -> PutResults:
        results: list[PutResults] = []
        under_way: deque[tuple[Set[str], UnderWay[PutResults]]] = deque()

        def finish_oldest() -> None:
            _, call = under_way.popleft()
            finished = call.result()
            results.append(finished)
            if on_progress is not None:
                on_progress(finished)

        try:
            for batch in batches(items):
                ids = {each.id for each in batch}
                while not fits_beside([others for others, _ in under_way], ids):
                    finish_oldest()
                under_way.append((ids, self._connection.begin(exchanges.put_items(self.name, batch))))
            while under_way:
                finish_oldest()
        except EmbeddbError as error:
            raise cut_off(error, PutResults.joined(results)) from None
        finally:
            for _, call in under_way:
                call.cancel()
        return PutResults.joined(results)

    def get_many(  # noqa: D102 - documented in CollectionCalls
        self, item_ids: Sequence[str], *, view: View | None = None
    ) -> list[StoredItem | EmbeddbError]:
        return [
            each
            for part in parts(item_ids, view)
            for each in self._connection.send(exchanges.get_items(self.name, part, view))
        ]

    def delete_many(self, item_ids: Sequence[str]) -> list[EmbeddbError | None]:  # noqa: D102
        return [
            each
            for part in parts(item_ids)
            for each in self._connection.send(exchanges.delete_items(self.name, part))
        ]

    def delete_where(self, filter: str, *, dry_run: bool = False) -> int:  # noqa: A002, D102 - as above
        return self._connection.send(exchanges.delete_by_filter(self.name, filter, dry_run))

    def list_items(  # noqa: D102 - documented in CollectionCalls
        self, *, page_size: int = 100, page_token: str = "", prefix: str = "", view: View | None = None
    ) -> ItemPage:
        return self._connection.send(exchanges.list_items(self.name, page_size, page_token, prefix, view))

    def search_many(self, search: Search) -> list[Hits | EmbeddbError]:  # noqa: D102
        return self._connection.send(exchanges.search_items(self.name, search))

    def stream_search(self, searches: Iterable[Search]) -> Iterator[list[Hits | EmbeddbError]]:
        """Answer searches on one open stream, in order; an exchange takes 0.1 to 0.4 ms less than a call.

        Raises:
            EmbeddbError: a search was refused as a whole; those after it are not answered.
        """
        stream = exchanges.SearchStream(self.name)
        requests = map(stream.request, searches)
        for response in self._connection.stream(self._connection.search.StreamSearch, requests):
            yield stream.found(response)

    def ask(  # noqa: D102 - documented in CollectionCalls
        self, question: Question[A], *, on_progress: OnProgress | None = None
    ) -> A:
        exchange = exchanges.ask(self.name, question)
        if exchange.streamed:
            return self._connection.follow(exchange, on_progress)
        return self._connection.send(exchange)

    def add_model(self, model: str) -> None:  # noqa: D102 - documented in CollectionCalls
        self._connection.send(exchanges.add_model(self.name, model))

    def backfill(self, model: str) -> Backfill:  # noqa: D102 - documented in CollectionCalls
        return self._connection.send(exchanges.start_backfill(self.name, model))

    def backfills(self) -> list[Backfill]:  # noqa: D102 - documented in CollectionCalls
        return self._connection.send(exchanges.list_backfills(self.name))

    def drop_model(  # noqa: D102 - documented in CollectionCalls
        self, model: str, *, replaced_by: str | None = None, force: bool = False
    ) -> None:
        self._connection.send(exchanges.drop_model(self.name, model, replaced_by, force))

    def info(self) -> CollectionInfo:  # noqa: D102 - documented in CollectionCalls
        return self._connection.send(exchanges.get_collection(self.name))
