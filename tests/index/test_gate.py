"""Many share a gate, or one has it alone, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from embeddb.gate import Gate

SECONDS = 20


def test_many_share_it() -> None:
    gate, together = Gate(), threading.Barrier(3)

    def share() -> int:
        with gate:
            return together.wait(SECONDS)

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(lambda _: share(), range(3))) == [0, 1, 2]


def test_one_has_it_alone() -> None:
    gate = Gate()
    inside: list[str] = []
    seen: list[list[str]] = []

    def share() -> None:
        for _ in range(200):
            with gate:
                inside.append("shared")
                inside.remove("shared")

    def alone() -> None:
        for _ in range(200):
            with gate.alone():
                seen.append(list(inside))
                inside.append("alone")
                time.sleep(0)
                seen.append(list(inside))
                inside.remove("alone")

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(work) for work in (share, share, alone, alone)]:
            each.result(SECONDS)
    assert seen == [[], ["alone"]] * 400


def test_newcomers_do_not_overtake_who_wants_to_be_alone() -> None:
    gate = Gate()
    order: list[str] = []

    def share() -> None:
        with gate:
            order.append("shared")

    def alone() -> None:
        with gate.alone():
            order.append("alone")

    with ThreadPoolExecutor(2) as threads:
        with gate:
            waits = threads.submit(alone)
            while gate.is_open:
                time.sleep(0.001)
            late = threads.submit(share)
            time.sleep(0.05)
            assert order == []
        waits.result(SECONDS)
        late.result(SECONDS)
    assert order == ["alone", "shared"]
    assert gate.is_open


def test_who_has_it_alone_again_and_again_lets_others_in_between() -> None:
    gate = Gate()
    times, entered = 0, threading.Event()

    def share() -> None:
        with gate:
            entered.set()

    with ThreadPoolExecutor(1) as threads:
        with gate.alone():
            waits = threads.submit(share)
            while not gate._waiting:
                time.sleep(0.001)
        while not entered.is_set():
            with gate.alone():
                times += 1
        waits.result(SECONDS)
    assert times <= 1


def test_who_is_interrupted_while_it_waits_leaves_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gate._changed, "wait", interrupted)
        with gate, pytest.raises(KeyboardInterrupt), gate.alone():
            pass
        assert gate.is_open
        with gate.alone(), pytest.raises(KeyboardInterrupt), gate:
            pass
    assert gate.is_open

    def alone() -> bool:
        with gate.alone():
            return True

    with ThreadPoolExecutor(1) as threads:
        assert all(threads.submit(alone).result(SECONDS) for _ in range(2))
