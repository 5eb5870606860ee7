"""Every command against a real server: what it prints, its JSON, its exit code."""

from __future__ import annotations

import io
import json
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

import embeddb
from embeddb.query import PutItem
from embeddb.settings import ModelSettings
from embeddb_client import Client, Collection
from embeddb_server import Server
from tests.cli.conftest import COMMAND, Run
from tests.conftest import PHOTOS

MakeCollection = Callable[..., Collection]


def test_without_a_command_there_is_help(run: Run) -> None:
    ran = run()
    assert ran.code == 0
    assert "contexts" in ran.out
    for command in ("put", "search", "get", "ls", "rm", "stats", "models add", "collections rm"):
        assert run(*command.split(), "--help").code == 0


def test_stats(run: Run, pets: Collection) -> None:
    ran = run("stats")
    assert ran.code == 0
    assert "up " in ran.out
    figures = run("stats", "--json").json
    spaces = {space["model"]: space for space in figures["spaces"][pets.name]}
    assert {name: space["vectors"] for name, space in spaces.items()} == {"starter": 3, "tiny": 2}
    assert run("--version").out == f"embeddb {figures['version']}\n"


def test_stats_are_watched_until_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("embeddb_client.cli.stats.time.sleep", wait)
    ran = run("stats", "--watch", "0.5")
    assert (ran.code, waits) == (130, [0.5] * 3)
    assert "default" in ran.out
    assert run("stats", "--watch", "1", "--json").code == 2


def test_models_come_and_go(run: Run, client: Client, tmp_path: Path) -> None:
    ran = run("models", "add", "mine", "--loader", "vectors", "--set", "dimension=3", "--only-register")
    assert (ran.code, ran.out) == (0, "mine: encodes nothing to 3 dimensions\n")
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"loader": "vectors", "dimension": 5}))
    client.create_collection("for-models")
    added = run(
        *("models", "add", "other", "--spec", f"@{spec}", "--to", "for-models", "--json"),
        *("--lazy", "--unload-after", "900"),
    ).json
    assert added["options"] == {
        "device": "auto",
        "precision": "auto",
        "lazy": True,
        "compile": False,
        "unload_after": 900.0,
    }
    assert (added["dimension"], added["collections"]) == (5, ["for-models"])
    assert client.collection("for-models").info().models == ("other",)
    listed = {model["name"]: model for model in run("models", "list", "--json").json}
    assert listed["mine"]["spec"] == {"loader": "vectors", "dimension": 3}
    assert "mine" in run("models", "list").out
    refused = run("models", "add", "compiled", "--spec", f"@{spec}", "--compile")
    assert "options.compile: True given, must be false" in refused.err
    running = run("models", "unload", "other", "--json").json["running"]
    assert running is None
    for change in "load", "unload":
        assert run("models", change, "other").out == "other: nothing to run\n"
    refused = run("models", "rm", "other")
    assert refused.code == 1
    assert "for-models" in refused.err
    client.drop_collection("for-models")
    assert run("models", "rm", "other", "mine").out == "removed other, mine\n"
    assert run("models", "rm", "mine").err.startswith("embeddb: no model named 'mine'")


def test_of_a_model_that_cannot_be_loaded_the_list_says_why(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    checkpoint = tmp_path / "models" / "net.pt"
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), checkpoint)
    settings = ModelSettings(folder=checkpoint.parent)
    with embeddb.open(tmp_path / "data", models=settings) as database:
        database.register_model(
            "net", {"loader": "timm", "architecture": "test_vit", "checkpoint": "net.pt", "labels": []}
        )
    checkpoint.unlink()
    with embeddb.open(tmp_path / "data", models=settings) as database:
        server = Server(database)
        server.start()
        listed = run("models", "list", "--server", server.address)
        (described,) = run("models", "list", "--json", "--server", server.address).json
        server.stop(drain_seconds=0)
    # A table as wide as the terminal breaks it somewhere.
    assert "cannot" in listed.out
    assert "such file" in listed.out
    assert "no such file" in described["refusal"]


def test_the_name_of_a_model_is_its_loader_unless_told(run: Run) -> None:
    ran = run("models", "add", "nix", "--only-register")
    assert ran.code == 1
    assert "'nix'" in ran.err


def test_collections_come_and_go(run: Run) -> None:
    assert run("collections", "add", "coll", "--model", "tiny", "-m", "given").code == 0
    assert run("collections", "add", "coll", "-m", "tiny").code == 1
    listed = {each["name"]: each for each in run("collections", "list", "--json").json}
    assert listed["coll"]["models"] == ["tiny", "given"]
    assert "tiny, given" in run("collections", "list").out
    assert run("collections", "rm", "coll", "--yes", "--json").json == {"dropped": "coll", "items": 0}
    assert run("collections", "rm", "coll", "-y").code == 1


class Interrupted(io.StringIO):
    """Whoever sits there presses Ctrl-C."""

    def readline(self, *_: object) -> str:
        signal.raise_signal(signal.SIGINT)
        return ""


def test_dropping_a_collection_asks_first(
    run: Run, make_collection: MakeCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = make_collection("given").name
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    ran = run("collections", "rm", name)
    assert ran.code == 1
    assert "nothing was done" in ran.err
    assert any(each["name"] == name for each in run("collections", "list", "--json").json)
    monkeypatch.setattr("sys.stdin", Interrupted())
    ran = run("collections", "rm", name)
    assert ran.code == 130
    assert "nothing was done" in ran.err
    assert any(each["name"] == name for each in run("collections", "list", "--json").json)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run("collections", "rm", name).code == 0


def test_get_shows_an_item_and_writes_its_payload(run: Run, pets: Collection, tmp_path: Path) -> None:
    shown = run("get", "cat [b]", "-c", pets.name)
    assert shown.code == 0
    assert "cat [b]" in shown.out
    assert "384 dimensions" in shown.out
    item = run("get", "cat [b]", "-c", pets.name, "--json", "--features").json
    assert item["metadata"] == {"kind": "pet"}
    assert {model: len(vector) for model, vector in item["features"].items()} == {"starter": 384, "tiny": 64}
    assert sorted(each["label"] for each in item["predictions"]["tiny"]) == ["cat", "cup", "dog"]
    assert "features" not in run("get", "cup", "-c", pets.name, "--json").json
    assert run("get", "cat [b]", "-c", pets.name, "-o", tmp_path / "cat.png").code == 0
    assert (tmp_path / "cat.png").read_bytes() == (PHOTOS / "chelsea.png").read_bytes()
    assert run("get", "note :cat:", "-c", pets.name, "--output", tmp_path / "note.txt").code == 0
    assert (tmp_path / "note.txt").read_text() == "a text about a rocket"


def test_get_says_why_it_cannot(run: Run, pets: Collection, tmp_path: Path) -> None:
    missing = run("get", "nix", "-c", pets.name)
    assert (missing.code, missing.out, missing.err) == (1, "", "embeddb: no item named 'nix'\n")
    nowhere = run("get", "cup", "-c", pets.name, "-o", tmp_path / "no" / "where.png")
    assert nowhere.code == 1
    assert "No such file or directory" in nowhere.err


def test_ls_goes_through_pages(run: Run, pets: Collection) -> None:
    page = run("ls", "-c", pets.name, "--limit", 2, "--json").json
    assert [item["id"] for item in page["items"]] == ["cat [b]", "cup"]
    rest = run("ls", "-c", pets.name, "--after", page["next"], "--json").json
    assert [item["id"] for item in rest["items"]] == ["note :cat:"]
    assert rest["next"] is None
    table = run("ls", "-c", pets.name, "--prefix", "c", "-n", 1)
    assert "cat [b]" in table.out
    assert "--after" in table.err
    assert "note :cat:" in run("ls", "-c", pets.name).out


@pytest.mark.parametrize("item_id", ["a\nb", "it's $HOME \\n", "\x1b[2J\t'\\'", "été ☕", "x" * 400])
def test_the_next_page_can_be_copied_to_a_shell(
    run: Run, make_collection: MakeCollection, item_id: str
) -> None:
    items = make_collection("given")
    items.put_many(PutItem(each, features={"given": [1, 2, 3, 4]}) for each in (item_id, f"{item_id}+"))
    (line,) = run("ls", "-c", items.name, "-n", 1).err.splitlines()
    word = line.removeprefix("more: --after ")
    ran = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True)
    assert ran.stdout == item_id


def test_rm_says_what_was_not_there(run: Run, pets: Collection) -> None:
    ran = run("rm", "cup", "nix", "-c", pets.name)
    assert (ran.code, ran.out, ran.err) == (1, "deleted 1 of 2\n", "no item named 'nix'\n")
    assert run("rm", "cat [b]", "-c", pets.name, "--json").json == {"deleted": 1, "missing": []}
    assert [item.id for item in pets.items()] == ["note :cat:"]


def test_rm_by_filter(run: Run, pets: Collection) -> None:
    neither = run("rm", "-c", pets.name)
    assert (neither.code, neither.err) == (
        2,
        "embeddb: Invalid value for ID...: give either ids or --filter\n",
    )
    assert run("rm", "cup", "--filter", "kind == 'pet'", "-c", pets.name).code == 2
    assert "filter" in run("rm", "--filter", "kind ==", "-c", pets.name).err
    assert run("rm", "--filter", "kind == 'pet'", "-c", pets.name).out == "deleted 1\n"
    assert run("rm", "--filter", "kind == 'pet'", "-c", pets.name, "--json").json == {"deleted": 0}
    assert [item.id for item in pets.items()] == ["cup", "note :cat:"]


def test_compare_and_calibrate(run: Run, make_collection: MakeCollection) -> None:
    vectors = make_collection("given")
    for name, vector in {"a1": [1, 0, 0, 0], "a2": [3, 4, 0, 0], "b1": [0, 0, 1, 0]}.items():
        vectors.put(name, metadata={"who": name[0]}, features={"given": vector})
    matrix = run("compare", "#a1", "#a2", "#b1", "-c", vectors.name, "--json").json
    assert matrix == [
        pytest.approx([1, 0.6, 0]),
        pytest.approx([0.6, 1, 0]),
        pytest.approx([0, 0, 1]),
    ]
    assert "0.600" in run("compare", "#a1", "#a2", "-c", vectors.name).out
    found = run("calibrate", "who", "-c", vectors.name, "--json").json
    assert (found["items"], found["same_pairs"], found["different_pairs"]) == (3, 1, 2)
    assert 0 < found["threshold"] < 0.6
    assert "3 items: 1 pairs of the same, 2 of different" in run("calibrate", "who", "-c", vectors.name).out
    assert run("calibrate", "nix", "-c", vectors.name).code == 1
    assert run("dedupe", "--threshold", 0.5, "-c", vectors.name, "--json").json == [["a1", "a2"]]
    assert "a1, a2" in run("dedupe", "--threshold", 0.5, "-c", vectors.name).out
    assert run("dedupe", "-c", vectors.name, "--json").json == []
    measured = run("evaluate", "who", "-c", vectors.name, "--json").json
    assert (measured["queries"], measured["unmatched"], measured["mean_average_precision"]) == (2, 1, 1.0)
    printed = run("evaluate", "who", "--queries", 'who == "a"', "--k-reciprocal", "-c", vectors.name).out
    assert "2 queries (0 more without a match), 3 items" in printed


def test_classify(run: Run, pets: Collection) -> None:
    line = ["classify", "#'cat [b]'", "-c", pets.name, "--json"]
    found = run(*line, "-l", "cat", "-l", "cup", "--scale", 20, "--template", "a {}").json
    assert [each["label"] for each in found] == ["cat", "cup"]
    assert sum(each["score"] for each in found) == pytest.approx(1)
    assert len(run(*line, "-m", "tiny", "--top", 2).json) == 2
    pets.put("cup", PHOTOS / "coffee.png", {"kind": "thing"})
    assert run(*line, "--by", "kind", "--neighbours", 1).json == [{"label": "thing", "score": 1.0}]
    assert "thing" in run(*line[:-1], "--by", "kind", "--neighbours", 1).out
    assert run(*line, "--by", "kind", "-l", "cat").code == 2
    assert run(*line, "-l", "cat").code == 1  # the starter has no scale of its own


def test_a_reader_that_has_had_enough(server: Server, pets: Collection) -> None:
    line = [*COMMAND, "get", "cup", "-c", pets.name, "--features", "--json", "--server", server.address]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("search", 2, "Missing argument 'expression'"),
        ("search '#a +'", 1, "expression: '#a +' given, column 5: expected an operand"),
        ("search '#nix'", 1, "no item named 'nix'"),
        ("search a -c nix", 1, "no collection named 'nix'"),
        ("search a -m nix", 1, "no model"),
        ("search a -k 0", 1, "k: 0 given, must be"),
        ("search a -k many", 2, "Invalid value for '-k': Input should be a valid integer"),
        ("search a --open", 2, "Invalid value for --open: needs --html FILE"),
        ("search @missing.jpg", 1, "image: 'missing.jpg' given, cannot be read: No such file"),
        ("search a --html /nowhere/page.html", 1, "page: '/nowhere/page.html' given, cannot be written"),
        ("ls --limit 0", 2, "Invalid value for '--limit'"),
        ("put missing", 1, "PATHS: 'missing' given, there is no such file or folder"),
        ("models add x --set dimension", 2, "Invalid value for --set: 'dimension' given, must be key=value"),
        ("models add x --spec {", 1, "--spec: '{' given, must be JSON"),
        ("models add x --spec 5", 1, "--spec: '5' given, must be a JSON object"),
        ("models add x --spec @missing.json", 1, "--spec: '@missing.json' given, must be JSON, or @FILE"),
        ("models add x --to a --only-register", 2, "--only-register: cannot go with --to"),
        ("models", 2, "Missing command"),
        ("fly", 2, "No such command 'fly'"),
        ("stats --nix", 2, "No such option: --nix"),
        ("stats --server nix", 1, "--server: 'nix' given, must be the name of a context or HOST:PORT"),
    ],
)  # fmt: skip
def test_errors_are_one_line_on_standard_error(
    run: Run, make_collection: MakeCollection, line: str, code: int, says: str
) -> None:
    if line.startswith("search ") and "-c" not in line:
        line += f" -c {make_collection('starter').name}"
    ran = run(*shlex.split(line))
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("embeddb: ")
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_a_server_that_is_not_there(run: Run) -> None:
    ran = run("stats", "--server", "127.0.0.1:1")
    assert (ran.code, ran.out) == (1, "")
    assert "127.0.0.1:1" in ran.err


def test_backfill_and_drop(run: Run, pets: Collection) -> None:
    pets.put("vector", features={"tiny": [1.0] * 64})
    waited = run("models", "backfill", "given", "--collection", pets.name)
    assert waited.code == 0
    assert waited.out.startswith("given: complete, 0 of 4 items embedded, 1 could not be, in ")
    assert waited.err.splitlines()[-1].startswith("vector: its payload is not stored")
    facts = run("models", "backfill", "given", "--collection", pets.name, "--json").json
    assert (facts["state"], facts["listed"][0]["id"]) == ("complete", "vector")
    assert run("models", "backfill", "given", "-c", pets.name, "--no-wait").code == 0
    assert run("models", "backfill", "nix", "-c", pets.name).err.startswith("embeddb: no model named 'nix'")
    refused = run("models", "drop", "tiny", "--replaced-by", "given", "-c", pets.name)
    assert refused.code == 1
    assert "3 items have features of model 'tiny' and none of 'given'" in refused.err
    dropped = run("models", "drop", "tiny", "--replaced-by", "given", "--force", "-c", pets.name)
    assert dropped.out == f"{pets.name}: models starter, given\n"
    assert run("models", "drop", "given", "-c", pets.name, "--json").json["models"] == ["starter"]


def test_an_empty_name_or_filter_widens_nothing(run: Run, pets: Collection) -> None:
    for command in (
        ["search", "cat", "-c", ""],
        ["rm", "cup", "-c", ""],
        ["search", "cat", "-c", pets.name, "--filter", " "],
        ["rm", "-c", pets.name, "--filter", ""],
        ["search", "cat", "-c", pets.name, "--per-group", "2"],
    ):
        ran = run(*command)
        assert ran.code != 0, command
        assert len(ran.err.splitlines()) == 1
    assert pets.info().items == 3


def test_what_others_wrote_does_not_command_the_terminal(run: Run, pets: Collection) -> None:
    pets.put("\x1b[31mred\nline", "a text")
    assert "\\x1b[31mred\\nline" in run("ls", "-c", pets.name).out


def test_nothing_found_is_said(run: Run, make_collection: MakeCollection) -> None:
    name = make_collection("starter").name
    assert run("search", "a", "-c", name).out == "no hits\n"
    assert run("ls", "-c", name).out == "no items\n"
    assert run("contexts", "list").out == "no contexts\n"


def test_a_dry_run_deletes_nothing(run: Run, pets: Collection) -> None:
    assert run("rm", "--filter", "kind == 'pet'", "--dry-run", "-c", pets.name).out == "would delete 1\n"
    ran = run("rm", "cup", "gone", "--dry-run", "-c", pets.name)
    assert (ran.code, ran.out, ran.err) == (1, "would delete 1 of 2\n", "no item named 'gone'\n")
    assert run("rm", "cup", "--dry-run", "--json", "-c", pets.name).json["would_delete"] == 1
    assert pets.info().items == 3
    assert run("rm", "--filter", "kind == 'pet'", "-c", pets.name).out == "deleted 1\n"
