"""What is asked at the same time on the event loop: answered together, and refused alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from embeddb.errors import InvalidArgumentError
from embeddb_server import gathering
from embeddb_server.gathering import MOST, Company, Gathering
from embeddb_server.handlers import Asked


class Squares:
    """Squares numbers, and notes which it was given together; it refuses those below zero."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.given.append(list(numbers))
        if min(numbers) < 0:
            raise InvalidArgumentError("number", min(numbers), "must not be negative")
        return [number**2 for number in numbers]


def ask(squares: Squares, *numbers: int, alone: bool = False, gone: int | None = None) -> list[int | str]:
    """The squares of numbers that are asked for at the same time, even ones apart from odd ones.

    Args:
        gone: the place of one who does not wait.
    """

    async def outcome(gathering: Gathering, number: int) -> int | str:
        asked = Asked(number, number % 2, squares)
        await gathering.settle(asked, alone=alone)
        try:
            return asked.result()
        except InvalidArgumentError as error:
            return str(error)

    async def outcomes() -> list[int | str]:
        gathering = Gathering()
        tasks = [asyncio.ensure_future(outcome(gathering, number)) for number in numbers]
        if gone is not None:
            await asyncio.sleep(0)
            tasks.pop(gone).cancel()
        return await asyncio.gather(*tasks)

    return asyncio.run(outcomes())


def test_questions_of_a_kind_are_answered_together() -> None:
    squares = Squares()
    assert ask(squares, 2, 3, 4, 5, 7) == [4, 9, 16, 25, 49]
    assert squares.given == [[2, 4], [3, 5, 7]]


def test_one_that_is_refused_is_refused_alone() -> None:
    squares = Squares()
    assert ask(squares, 2, -4, 6) == [4, "number: -4 given, must not be negative", 36]
    assert squares.given == [[2, -4, 6], [2], [-4], [6]]


def test_one_who_has_gone_is_not_answered() -> None:
    squares = Squares()
    assert ask(squares, 2, 4, 6, gone=1) == [4, 36]
    assert squares.given == [[2, 6]]


def test_one_without_company_is_answered_at_once() -> None:
    squares = Squares()
    assert ask(squares, 2, 4, alone=True) == [4, 16]
    assert squares.given == [[2], [4]]


@pytest.mark.parametrize("count", [MOST, MOST + 1, 3 * MOST])
def test_no_more_than_so_many_are_answered_in_a_turn(count: int) -> None:
    squares = Squares()
    numbers = range(0, 2 * count, 2)
    assert ask(squares, *numbers) == [number**2 for number in numbers]
    assert list(map(len, squares.given)) == [MOST] * (count // MOST) + [1] * (count % MOST)


def test_a_stream_is_company_only_while_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(gathering.time, "monotonic", lambda: clock[0])
    company, first, second = Company(), object(), object()
    company.calls = 1

    def alone_after(seconds: float, stream: object | None) -> bool:
        clock[0] += seconds
        return company.is_alone(stream)

    assert [alone_after(0.001, first) for _ in range(2)] == [True, True]
    assert [alone_after(0.001, each) for each in (second, first, None)] == [False, False, False]
    assert alone_after(0.021, None)
    assert [alone_after(0.001, None), alone_after(0.001, first)] == [True, True]
    company.calls = 2
    assert not company.is_alone(first)
