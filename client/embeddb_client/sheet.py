"""Thumbnails of many items in one picture (a sprite), and the items of a map as they are fetched."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from PIL import Image as PilImage
from PIL import ImageOps

from embeddb.calls import CollectionCalls
from embeddb.query import Image, StoredItem, View
from embeddb_client.page import open_upright

__all__ = ["Sheet", "fetch"]

# Payloads of so many items come in one message.
BATCH_ITEMS = 32
BLANK = (255, 255, 255)


class Sheet:
    """Square thumbnails in rows, the first at the top left, as many columns as rows.

    Args:
        places: how many thumbnails there is room for.
        side: of each, in pixels.

    Attributes:
        picture: all of them.
        columns: how many are in a row.
    """

    def __init__(self, places: int, side: int) -> None:
        self.columns = max(1, math.ceil(math.sqrt(places)))
        self.side = side
        self.picture = PilImage.new("RGB", (self.columns * side, self.columns * side), BLANK)

    def put(self, place: int, image: Image) -> bool:
        """Show an image at a place, whole and in the middle; False if this machine cannot show it."""
        upright = open_upright(image)
        if upright is None:
            return False
        upright = ImageOps.contain(upright, (self.side, self.side))
        left = place % self.columns * self.side + (self.side - upright.width) // 2
        top = place // self.columns * self.side + (self.side - upright.height) // 2
        self.picture.paste(upright, (left, top))
        return True


def fetch(
    collection: CollectionCalls, item_ids: Sequence[str], view: View
) -> Iterator[tuple[int, StoredItem]]:
    """The items of ids with their places among them; those that were deleted meanwhile are left out."""
    for start in range(0, len(item_ids), BATCH_ITEMS):
        found = collection.get_many(item_ids[start : start + BATCH_ITEMS], view=view)
        for place, item in enumerate(found, start):
            if isinstance(item, StoredItem):
                yield place, item
