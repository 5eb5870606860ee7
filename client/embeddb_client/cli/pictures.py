"""Hits as a contact sheet in the terminal: two pixels a character, in terminals that have colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer
from rich.columns import Columns
from rich.console import Group
from rich.text import Text as Line
from rich_pixels import Pixels

from embeddb.query import Hit, Image
from embeddb_client.cli.options import out
from embeddb_client.page import open_upright

__all__ = ["check_terminal", "print_pictures"]

WIDTH, HEIGHT = 30, 24
"""Largest picture, in pixels: as many columns, and half as many lines."""


def check_terminal() -> None:
    """Refuse where pictures would come out as rows of one character.

    Raises:
        typer.BadParameter: standard output is no terminal, or one without colours.
    """
    if not out.is_terminal or out.color_system not in ("256", "truecolor"):
        raise typer.BadParameter("needs a terminal with colours", param_hint="--pictures")


def print_pictures(hits: Sequence[Hit]) -> None:
    """Print the hits' pictures side by side, as the terminal's width allows."""
    out.print(Columns(_tiles(hits), width=WIDTH, padding=(1, 2)))


def _tiles(hits: Sequence[Hit]) -> Iterator[Group]:
    for hit in hits:
        payload = hit.item.payload
        picture = open_upright(payload) if isinstance(payload, Image) else None
        caption = Line(f"{hit.id} {hit.score:.3f}", overflow="ellipsis", no_wrap=True)
        caption.truncate(WIDTH, overflow="ellipsis")
        if picture is None:
            yield Group(Line("no picture", style="dim"), caption)
            continue
        picture.thumbnail((WIDTH, HEIGHT))
        yield Group(Pixels.from_image(picture), caption)
