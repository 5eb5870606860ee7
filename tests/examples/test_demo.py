"""The demo: it runs, its page holds what it found, it cleans up, and it fails aloud."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from embeddb.query import StoredItem
from embeddb_client import Hit, Text

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The demo as a module; its neighbours are found as when it is run as a script."""
    monkeypatch.syspath_prepend(EXAMPLES)
    yield importlib.import_module("demo")
    for name in ("demo", "demo_photos", "demo_server"):
        sys.modules.pop(name)


def test_the_demo_finds_what_it_should_and_leaves_nothing_but_its_page(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(temporary), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"Text\('a pet that purrs'\) +0\.\d{3} chelsea", ran.stdout)
    assert re.search(
        r"Item\('chelsea'\) - Text\('a cat'\) \+ Text\('a cup of coffee'\) +0\.\d{3} coffee", ran.stdout
    )
    assert list(temporary.iterdir()) == []
    page = (tmp_path / "demo-page" / "index.html").read_text()
    assert page.count('<section class="answer">') == 12
    # Three hits each, and the pictures among the operands.
    assert page.count("data:image/jpeg;base64,") == 12 * 3 + 1 + 1 + 2 + 3
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_a_question_that_finds_something_else_is_complained_of(demo: ModuleType) -> None:
    question = demo.Question(Text("a pet"), ["cat"])
    wrong = [Hit(StoredItem("dog"), 0.9), Hit(StoredItem("cat"), 0.8)]
    assert demo.complaint(question, wrong[::-1]) is None
    assert demo.complaint(question, wrong) == "Text('a pet') found dog first, and should find cat"
    assert demo.complaint(question, []) == "Text('a pet') found nothing first, and should find cat"


def test_complaints_make_the_exit_code(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "demonstrate", lambda console, data: ["this is wrong", "this too"])
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit, match="demo: this is wrong\ndemo: this too"):
        demo.main()


def test_a_server_that_does_not_start_is_said_so(demo: ModuleType, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    with pytest.raises(demo.ServerFailedError, match="exit code 1 before it was ready"):  # noqa: SIM117
        with demo.running_server(taken):
            pass
