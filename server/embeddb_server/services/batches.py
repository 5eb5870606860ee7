"""What the services' batches share: elements that fail alone, and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from embeddb.errors import EmbeddbError
from embeddb.query import check_page_size

T = TypeVar("T")
R = TypeVar("R")

DEFAULT_PAGE = 100


def answer_each(
    parsed: Sequence[T | EmbeddbError],
    answer: Callable[[list[T]], Sequence[R | EmbeddbError]],
) -> list[R | EmbeddbError]:
    """Answer the well-formed elements of a batch together, and put each outcome in its element's place."""
    well_formed = [element for element in parsed if not isinstance(element, EmbeddbError)]
    answers = iter(answer(well_formed) if well_formed else ())
    return [element if isinstance(element, EmbeddbError) else next(answers) for element in parsed]


def page_size(requested: int) -> int:
    """How many elements a page holds; `DEFAULT_PAGE` where a request says 0.

    Raises:
        InvalidArgumentError: there are too many (see `check_page_size`).
    """
    return check_page_size(requested or DEFAULT_PAGE)


def page_by_name(
    everything: Sequence[T], name: Callable[[T], str], requested: int, token: str
) -> tuple[list[T], str]:
    """The page of a listing sorted by name that follows `token`, and the next page's token."""
    rest = [element for element in everything if name(element) > token]
    page = rest[: page_size(requested)]
    return page, name(page[-1]) if len(rest) > len(page) else ""
