"""embeddb dedupe and cluster, their progress, and Ctrl-C, which ends the work on the server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embeddb.answers import clustering
from embeddb.query import PutItem
from embeddb_client import Collection
from embeddb_server import Server
from tests.cli.conftest import COMMAND, OnTerminal, Run
from tests.endless import Endless


@pytest.fixture
def bundles(make_collection: Callable[..., Collection]) -> Collection:
    """Two bundles, of 12 and of 6."""
    collection = make_collection("given")
    rng = np.random.default_rng(2)
    collection.put_many(
        PutItem(f"{name}-{n:02}", features={"given": np.eye(4)[place] + 0.01 * rng.normal(size=4)})
        for place, (name, count) in enumerate({"a": 12, "b": 6}.items())
        for n in range(count)
    )
    return collection


def test_clusters_are_printed_and_stored(run: Run, bundles: Collection) -> None:
    ran = run("cluster", "-k", 2, "--central", 1, "-c", bundles.name)
    assert "18 items, 2 clusters, inertia" in ran.out
    found = run("cluster", "--min-size", 4, "--field", "bundle", "-c", bundles.name, "--json").json
    assert [(each["label"], each["size"]) for each in found["clusters"]] == [(0, 12), (1, 6)]
    assert (found["noise"], found["inertia"], found["written"]) == (0, None, 18)
    assert found["labels"]["b-00"] == bundles.get("b-00").metadata["bundle"] == 1
    ran = run("cluster", "--min-size", 4, "--field", "bundle", "-c", bundles.name)
    assert "18 items, 2 clusters, 0 in none; 18 hold theirs as 'bundle'" in ran.out


def test_duplicates_are_deleted_once_they_were_seen(
    run: Run, bundles: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda question, abort, err: None)
    ran = run("dedupe", "--threshold", 0.99, "--delete", "-c", bundles.name)
    assert "deleted 16" in ran.out
    assert [item.id for item in bundles.items()] == ["a-00", "b-00"]
    again = run("dedupe", "--threshold", 0.99, "--delete", "--yes", "-c", bundles.name, "--json")
    assert again.json == {"groups": [], "deleted": 0}


def test_what_is_replaced_before_the_yes_is_not_deleted(
    run: Run, bundles: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace_one(question: str, abort: bool, err: bool) -> None:
        bundles.put("a-05", features={"given": [-1, 0, 0, 0]})

    monkeypatch.setattr("typer.confirm", replace_one)
    assert "deleted 15" in run("dedupe", "--threshold", 0.99, "--delete", "-c", bundles.name).out
    assert [item.id for item in bundles.items()] == ["a-00", "a-05", "b-00"]


def test_nothing_is_deleted_without_a_yes(on_terminal: OnTerminal, run: Run, bundles: Collection) -> None:
    ran = run("dedupe", "--threshold", 0.99, "--delete", "-c", bundles.name)
    assert ran.code == 1
    assert bundles.info().items == 18


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["cluster", "--seed", "1"], "needs -k"),
        (["cluster", "--iterations", "9"], "needs -k"),
        (["cluster", "-k", "2", "--min-size", "3"], "cannot be combined with -k"),
        (["cluster", "-k", "2", "--neighbours", "3"], "cannot be combined with -k"),
        (["dedupe", "--yes"], "needs --delete"),
        (["dedupe", "--delete", "--json"], "needs --yes with --json"),
    ],
)
def test_options_that_would_do_nothing_are_refused(run: Run, command: list[str], message: str) -> None:
    ran = run(*command)
    assert (ran.code, message in ran.err) == (2, True)


def test_ctrl_c_ends_the_work_on_the_server(
    server: Server, bundles: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Endless()
    monkeypatch.setattr(clustering, "Centres", endless)
    environment = {**os.environ, "EMBEDDB_SERVER": server.address, "EMBEDDB_CONFIG": str(tmp_path / "none")}
    command = [*COMMAND, "cluster", "-k", "2", "-c", bundles.name]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        assert endless.begun.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert endless.stopped.wait(20)


def test_a_terminal_shows_how_far_it_is(
    on_terminal: OnTerminal, bundles: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    centres = clustering.Centres

    def slowly(*arguments: object) -> object:
        step = arguments[-1]
        assert callable(step)
        for done in range(20):
            step("moving centres", done, 20)
            time.sleep(0.05)
        return centres(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(clustering, "Centres", slowly)
    code, shown = on_terminal("cluster", "-k", "2", "-c", bundles.name)
    assert code == 0
    assert "moving centres" in shown
    assert "/20" in shown
