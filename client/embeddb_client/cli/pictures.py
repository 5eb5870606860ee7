"""Hits as pictures in the terminal: drawn by one that can (Kitty, Sixel), else two pixels a character."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.columns import Columns
from rich.console import Group
from rich.text import Text as Line

from embeddb.query import Hit, Image
from embeddb_client.cli.options import out
from embeddb_client.page import open_upright

__all__ = ["check_terminal", "print_pictures"]

WIDTH, HEIGHT = 30, 12
"""Largest picture, in columns and lines of the terminal, whose characters are twice as high as wide."""


def check_terminal() -> None:
    """Refuse where pictures would come out as rows of one character.

    Raises:
        typer.BadParameter: standard output is no terminal, or one without colours or without a size.
    """
    has_colours = out.is_terminal and out.color_system in ("256", "truecolor")
    if not has_colours or (sys.stdout.isatty() and 0 in os.get_terminal_size(sys.stdout.fileno())):
        raise typer.BadParameter("needs a terminal with colours and a size", param_hint="--pictures")


def print_pictures(hits: Sequence[Hit]) -> None:
    """Print the hits' pictures with their ids: side by side, or one below the other where they are drawn."""
    # It would tell everybody where a terminal does not say how large its characters are.
    logging.getLogger("textual_image").addHandler(logging.NullHandler())
    # The import asks the terminal what it can.
    from textual_image import renderable

    drawn = renderable.Image in (renderable.SixelImage, renderable.TGPImage)
    tiles = [_tile(hit, renderable.Image if drawn else renderable.HalfcellImage) for hit in hits]
    # What is drawn lies over the characters, and a layout of characters would leave it behind.
    out.print(Group(*tiles) if drawn else Columns(tiles, width=WIDTH, padding=(1, 2)))


def _tile(hit: Hit, kind: Any) -> Group:
    payload = hit.item.payload
    picture = open_upright(payload) if isinstance(payload, Image) else None
    caption = Line(f"{hit.id} {hit.score:.3f}", overflow="ellipsis", no_wrap=True)
    caption.truncate(WIDTH, overflow="ellipsis")
    if picture is None:
        return Group(Line("no picture", style="dim"), caption)
    is_wide = picture.width * HEIGHT * 2 >= picture.height * WIDTH
    size: dict[str, Any] = (
        {"width": WIDTH, "height": "auto"} if is_wide else {"width": "auto", "height": HEIGHT}
    )
    return Group(kind(picture, **size), caption)
