"""A channel to a server for asyncio: the same limits, retries and errors as `Connection`'s."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from operator import attrgetter
from typing import Any, TypeVar

import grpc
import grpc.aio

from embeddb.errors import UnavailableError
from embeddb.questions import OnProgress
from embeddb_client.access import Access
from embeddb_client.connection import NO_ANSWER, Stubs
from embeddb_client.exchange import Exchange
from embeddb_protos.wire.codec import progress_from
from embeddb_protos.wire.errors import error_from_call

__all__ = ["AsyncConnection"]

R = TypeVar("R")


class AsyncConnection(Stubs):
    """An open channel of one event loop."""

    def __init__(self, address: str, timeout: float, access: Access | None = None) -> None:
        super().__init__(grpc.aio, address, timeout, access)

    async def send(self, exchange: Exchange[R], timeout: float | None = None) -> R:
        """Make the call of an exchange and read its answer.

        Args:
            timeout: seconds; the connection's own if None.

        Raises:
            EmbeddbError: whatever the server or gRPC reports, as our own class.
        """
        method = attrgetter(exchange.method)(self)
        seconds = self.timeout if timeout is None else timeout
        try:
            response = await method(exchange.request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_from_call(error) from None
        return exchange.read(response)

    async def pages(self, page: Callable[[str], Exchange[tuple[list[R], str]]]) -> AsyncIterator[R]:
        """Everything on the pages of a listing, each of which gives the token of the next."""
        token = ""
        while True:
            found, token = await self.send(page(token))
            for each in found:
                yield each
            if not token:
                return

    async def stream(self, method: Callable[..., Any], requests: AsyncIterable[Any]) -> AsyncIterator[Any]:
        """Make a call that streams both ways; it has no deadline, and ends with its requests.

        Raises:
            EmbeddbError: whatever the server or gRPC reports, as our own class.
            Exception: what making the requests raised, once those before are answered.
        """
        failed: list[Exception] = []
        call = method(_until_failed(requests, failed), metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise error_from_call(error) from None
        finally:
            call.cancel()  # Of no effect on a call that has ended.
        if failed:
            raise failed[0]

    async def follow(self, exchange: Exchange[R], on_progress: OnProgress | None) -> R:
        """Make the call of an exchange that streams: it has no deadline, and ends with its answer.

        Raises:
            EmbeddbError: whatever the server or gRPC reports, as our own class.
        """
        call = attrgetter(exchange.method)(self)(exchange.request, metadata=self._metadata)
        try:
            async for response in call:
                if response.HasField("response"):
                    return exchange.read(response.response)
                if on_progress is not None:
                    on_progress(progress_from(response.progress))
        except grpc.RpcError as error:
            raise error_from_call(error) from None
        finally:
            call.cancel()  # Whoever gives up ends the work; of no effect on a call that has ended.
        raise UnavailableError(NO_ANSWER)

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled. Once more does nothing."""
        self.retire()
        await self._channel.close()


async def _until_failed(requests: AsyncIterable[Any], failed: list[Exception]) -> AsyncIterator[Any]:
    """The requests up to what making them raises, which is noted: gRPC would not tell whoever waits."""
    try:
        async for request in requests:
            yield request
    except Exception as error:
        failed.append(error)
