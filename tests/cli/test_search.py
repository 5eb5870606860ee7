"""`embeddb search`: what can be searched by, what is found, and how it is shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from embeddb_client import Collection
from embeddb_client.cli import search as search_module
from tests.cli.conftest import OnTerminal, Run
from tests.conftest import PHOTOS

MakeCollection = Callable[..., Collection]


def test_search_by_sentence_picture_item_and_vector(run: Run, pets: Collection) -> None:
    found = run("search", "an animal that purrs", "-c", pets.name, "--json").json
    assert found[0]["id"] == "cat [b]"
    assert found[0]["score"] > found[1]["score"]
    assert len(found[0]["predictions"]["tiny"]) == 3
    copy = run("search", f'@"{PHOTOS / "coffee.png"}"', "-c", pets.name, "-m", "tiny", "-k", 1, "--json").json
    assert (copy[0]["id"], round(copy[0]["score"], 3)) == ("cup", 1)
    moved = run("search", '#\'cat [b]\' - "a cat" + "a cup of coffee"', "-c", pets.name)
    assert moved.out.index("cup") < moved.out.index("note :cat:")
    assert "cat [b]" not in moved.out
    assert run("search", "#cup", "--include-operands", "-c", pets.name, "--json").json[0]["id"] == "cup"


def test_a_path_that_is_taken_as_a_text_is_remarked(
    run: Run, pets: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PHOTOS / "coffee.png", "cup.png")
    bare = run("search", "cup.png", "-c", pets.name, "--json")
    assert bare.err == 'cup.png is taken as a text; the file is @"cup.png"\n'
    assert bare.json == run("search", "'cup.png'", "-c", pets.name, "--json").json
    for typed in ('@"cup.png"', "@cup.png", "'cup.png'", "cup", "a\0b", "cup " * 5000):
        assert run("search", typed, "-c", pets.name, "--json").err == ""


def test_search_by_vector(run: Run, make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    vectors.put("x", features={"given": [1, 0, 0, 0]})
    vectors.put("y", features={"given": [0, 1, 0, 0]})
    hits = run("search", "Vector([0, 2, 0, 0]) + 0.1 * #x", "-c", vectors.name, "--json").json
    assert [hit["id"] for hit in hits] == ["y"]


def test_an_expression_may_begin_with_a_minus(run: Run, pets: Collection) -> None:
    for typed in (
        "-'a cat' + #cup",
        '- "a cat"',
        "-2 * #cup",
        "-unit(#cup - 'a cat')",
        "-@" + str(PHOTOS / "coffee.png"),
    ):
        ran = run("search", typed, "-c", pets.name, "--json")
        assert ran.json, typed
    assert run("compare", "-#cup", "#cup", "-c", pets.name, "--json").json[0][1] == pytest.approx(-1)
    assert run("search", "-x", "-c", pets.name).code == 2
    assert run("search", "a", "--min-score", "-1", "-c", pets.name).code == 0


def test_search_options_reach_the_server(run: Run, pets: Collection) -> None:
    line = ["search", "#cup - 0.5 * #'cat [b]'", "-c", pets.name, "-m", "tiny", "--include-operands"]
    hits = run(*line, "--explain", "--json").json
    for hit in hits:
        assert len(hit["explanation"]) == 2
        assert sum(each["share"] for each in hit["explanation"]) == pytest.approx(hit["score"], abs=1e-5)
    assert "explanation" not in run(*line, "--json").json[0]
    assert "shares" in run(*line, "--explain").out
    for option in (["--center"], ["--combine", "best"], ["--combine", "product"]):
        other = run(*line, *option, "--json").json
        assert {hit["id"]: hit["score"] for hit in other} != {hit["id"]: hit["score"] for hit in hits}
    pets.put("cat [b]", PHOTOS / "chelsea.png", {"kind": "pet", "age": 3})
    assert [hit["id"] for hit in run(*line, "--filter", "age > 2", "--json").json] == ["cat [b]"]
    assert run(*line, "--fuse", "z_score").code == 2, "of one space nothing is fused"
    refused = run(*line, "--center", "-k", 5, "--candidates", 4)
    assert (refused.code, refused.out) == (1, "")
    assert "must be at most candidates (4)" in refused.err


def test_search_options_cut_group_and_reorder(run: Run, pets: Collection) -> None:
    pets.put("cat [b]", PHOTOS / "chelsea.png", {"kind": "pet", "age": 3})
    pets.put("cup", PHOTOS / "coffee.png", {"kind": "thing"})
    line = ["search", "a cat", "-c", pets.name, "--json"]
    hits = run(*line).json
    assert run(*line, "--offset", 1, "-k", 1).json == hits[1:2]
    assert run(*line, "--min-score", hits[0]["score"] - 1e-6).json == hits[:1]
    groups = run(*line, "--group-by", "kind").json
    assert [hit["group"] for hit in groups] == ["pet", "thing"]
    assert run(*line, "--diversify", 1).json == hits
    assert run(*line, "--k-reciprocal").code == 0
    both = run("search", "#cup", "-c", pets.name, "-m", "tiny", "-m", "starter", "--json").json
    side = run(
        "search", "#cup", "-c", pets.name, "-m", "tiny", "-m", "starter", "--fuse", "side_by_side", "--json"
    ).json
    assert [hit["model"] for hit in side] == ["tiny"] + ["starter"] * (len(side) - 1)
    assert {hit["id"] for hit in both} == {hit["id"] for hit in side}
    wrong = run(*line, "--diversify", 0.5, "--k-reciprocal")
    assert (wrong.code, "--diversify" in wrong.err) == (2, True)


def test_search_writes_a_page(
    run: Run, pets: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(search_module.webbrowser, "open", opened.append)
    page = tmp_path / "page.html"
    # Narrower than the path, which is one line all the same.
    monkeypatch.setenv("COLUMNS", "20")
    ran = run("search", "#cup + <b>", "-c", pets.name, "--html", page, "--open")
    assert ran.code == 1
    ran = run("search", '#cup + "<b>"', "-c", pets.name, "--html", page, "--open")
    assert (ran.code, ran.err) == (0, f"wrote {page}\n")
    assert opened == [page.as_uri()]
    html = page.read_text()
    assert "“&lt;b&gt;”" in html
    assert "<b>" not in html
    # The cup that was named, the cat that was found; the note is shown by its words.
    assert html.count("data:image/jpeg") == 2
    assert "a text about a rocket" in html


def test_search_shows_pictures_on_a_terminal(run: Run, on_terminal: OnTerminal, pets: Collection) -> None:
    code, shown = on_terminal("search", "a cat", "-c", pets.name, "--pictures")
    assert code == 0, shown
    assert "▀" in shown
    assert "no picture" in shown
    assert shown.count("cat [b]") == 2
    assert "Traceback" not in shown
    ran = run("search", "a cat", "-c", pets.name, "--pictures")
    assert (ran.code, ran.out) == (2, "")
    assert "--pictures: needs a terminal with colours" in ran.err


@pytest.mark.parametrize(
    ("answers", "drawn"),
    [
        (b"\x1b[?62;4c", "\x1bP"),  # Sixel
        (b"\x1b[?62c\x1b_Gi=31;OK\x1b\\", "\x1b_Ga=p"),  # Kitty, which is asked for Sixel first
    ],
)
def test_a_terminal_that_can_draws_pictures(
    on_terminal: OnTerminal, pets: Collection, answers: bytes, drawn: str
) -> None:
    code, shown = on_terminal("search", "a cat", "-c", pets.name, "--pictures", answers=answers)
    assert code == 0, shown
    assert drawn in shown
    assert "▀" not in shown
    assert shown.count("cat [b]") == 2
