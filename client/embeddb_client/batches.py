"""Items on their way into a collection, cut into batches that fit a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

from embeddb.arguments import check
from embeddb.errors import EmbeddbError
from embeddb.query import PutItem, PutResult, PutResults, PutStatus, View
from embeddb_protos.v1 import items_pb2
from embeddb_protos.wire.puts import fits_columns, put_item_message

__all__ = ["IN_FLIGHT", "Batch", "Cutter", "batches", "cut_off", "fits_beside", "parts"]

# A batch is sent when it holds this many items, or contents to embed, or bytes. Two are under way at once, so
# that the server decodes one while it runs the other through its models. Items that come with their features
# wait for the disk alone, which takes hardly longer for a thousand of them than for one.
BATCH_ITEMS = 1000
BATCH_CONTENTS = 64
BATCH_BYTES = 16 << 20
IN_FLIGHT = 2
FLOAT_BYTES = 4
# So many payloads are asked for in one call; an answer has room for those of 8 MB.
PAYLOADS = 16

Batch = list[PutItem | items_pb2.PutItem | PutResult]
"""Items to send, as they are where they fit columns, and as messages otherwise; in the places of those that
could not be made a message, their results."""


def parts(item_ids: Sequence[str], view: View | None = None) -> Iterator[Sequence[str]]:
    """Ids, cut into as many as one call may ask for or delete.

    Raises:
        InvalidArgumentError: they are not strings.
    """
    ids = check("item_ids", item_ids, Sequence[str])
    size = PAYLOADS if isinstance(view, View) and view.payload else BATCH_ITEMS
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


class Cutter:
    """Gathers items until they are a batch."""

    def __init__(self) -> None:
        self._batch: Batch = []
        self._contents = 0
        self._bytes = 0

    def add(self, item: PutItem) -> Batch | None:
        """Take an item; gives the batch before it, if that is full. A picture's file is read here."""
        element = _to_send(check("items", item, PutItem))
        added = _size(element)
        full = None
        full_items = len(self._batch) >= BATCH_ITEMS or self._contents >= BATCH_CONTENTS
        if self._batch and (full_items or self._bytes + added > BATCH_BYTES):
            full = self.rest()
        self._batch.append(element)
        self._contents += item.content is not None
        self._bytes += added
        return full

    def rest(self) -> Batch:
        """What has been gathered since the last full batch."""
        batch, self._batch, self._contents, self._bytes = self._batch, [], 0, 0
        return batch


def batches(items: Iterable[PutItem]) -> Iterator[Batch]:
    """Cut items into batches; no more than one batch is held at a time."""
    cutter = Cutter()
    for item in items:
        full = cutter.add(item)
        if full is not None:
            yield full
    rest = cutter.rest()
    if rest:
        yield rest


def fits_beside(under_way: Sequence[Set[str]], ids: Set[str]) -> bool:
    """Whether a batch of these ids may be sent beside those under way.

    Not beside one that has an id of it: either may be stored first, and of an id the last item is to stay.
    """
    return len(under_way) < IN_FLIGHT and all(map(ids.isdisjoint, under_way))


def cut_off(error: EmbeddbError, results: PutResults) -> EmbeddbError:
    """The error that ended a load, which says how far the load came where it came anywhere."""
    if not results:
        return error
    stored = len(results) - len(results.failed)
    message = f"{error.message}; before this {stored:,} items were stored. Put all of them again: what is "
    message += "stored already and has not changed costs nothing"
    return type(error).from_details(message, {**error.details, "stored": str(stored)}, error.request_id)


def _to_send(item: PutItem) -> PutItem | items_pb2.PutItem | PutResult:
    if fits_columns(item):
        return item
    try:
        return put_item_message(item)
    except EmbeddbError as error:
        return PutResult(item.id, PutStatus.FAILED, error)


def _size(element: PutItem | items_pb2.PutItem | PutResult) -> int:
    """About how many bytes it takes: a batch uses an eighth of what a message may have."""
    if isinstance(element, PutResult):
        return 0
    if isinstance(element, items_pb2.PutItem):
        return element.ByteSize()
    numbers = sum(map(len, element.features.values()))
    return len(element.id) + len(element.metadata_json) + FLOAT_BYTES * numbers
