"""Contexts: named servers in a file, and what shells complete."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import grpc
import pytest
import trustme

from embeddb.database import Database
from embeddb_client import Collection
from embeddb_client.cli.config import Config, Context
from embeddb_client.client import DEFAULT_ADDRESS
from embeddb_server import Server
from embeddb_server.keys import KeyFile, Role
from tests.cli.conftest import COMMAND, Run
from tests.cli.test_commands import MakeCollection


def complete(line: str, config: Path) -> list[str]:
    """What bash would offer at the end of a line."""
    words = line.split(" ")
    asked = {"_EMBEDDB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, env=os.environ | asked | {"EMBEDDB_CONFIG": str(config)}
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_first_context_is_used_until_another_one_is(
    run: Run, server: Server, make_collection: MakeCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EMBEDDB_SERVER")
    mine: Collection = make_collection("given")
    mine.put("x", features={"given": [1, 2, 3, 4]})
    assert run("contexts", "add", "lab", server.address, "--collection", mine.name).code == 0
    assert [item["id"] for item in run("ls", "--json").json["items"]] == ["x"]
    away = run("contexts", "add", "away", "127.0.0.1:1", "--json").json
    assert away == {"name": "away", "server": "127.0.0.1:1", "collection": "default", "current": False}
    assert run("contexts", "use", "away").out == "using away: 127.0.0.1:1\n"
    assert "127.0.0.1:1" in run("stats").err
    assert run("ls", "--server", "lab").code == 0
    assert run("get", "x", "--server", "lab", "-c", "default").code == 1
    monkeypatch.setenv("EMBEDDB_SERVER", "lab")
    assert run("get", "x").code == 0
    assert "*" in run("contexts", "list").out
    listed = {each["name"]: each["current"] for each in run("contexts", "list", "--json").json}
    assert listed == {"lab": False, "away": True}
    assert run("contexts", "rm", "away", "--json").json == {"removed": "away"}
    assert run("contexts", "use", "away").err == "embeddb: no context named 'away'; there are: lab\n"
    assert run("contexts", "add", "lab", "other:1").err.startswith("embeddb: a context named 'lab' exists")
    refused = run("contexts", "add", "b", "no-port")
    assert refused.err == "embeddb: server: 'no-port' given, must be HOST:PORT, such as no-port:7080\n"
    refused = run("stats", "--server", "lap")
    assert "must be the name of a context (there are: lab) or HOST:PORT, such as lap:7080" in refused.err
    assert run("contexts", "rm", "lab").out == "removed lab\n"


def test_without_a_file_it_is_the_default_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDB_CONFIG", str(tmp_path / "none.toml"))
    assert Config.read().find(None) == Context(DEFAULT_ADDRESS, "default")
    assert Config.read().find("host:1") == Context("host:1")


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDB_CONFIG", str(tmp_path / "new" / "config.toml"))
    config = Config.read().add("a", Context("h:1", "c")).add("b", Context("[::1]:2")).use("b")
    config.write()
    assert Config.read() == config
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("current = ", "cannot be read"),
        ('curent = "a"', r"\['curent'\] given, must hold `current`"),
        ('current = "a"', r"current: 'a' given, must be one of \[\]"),
        ("contexts = 5", "must hold `current` and tables"),
        ("[contexts.a]\nserver = 5", "contexts.a: 'server' given, must be a table of the strings"),
        (
            '[contexts.a]\nserver = "a:1"\napi_key = "edb_x"',
            "contexts.a: 'api_key, server' given, must be a table",
        ),
        ('[contexts.a]\nport = "5"', "contexts.a: 'port' given"),
        ("[contexts]\na = 5", "contexts.a: 'int' given"),
    ],
)
def test_a_file_that_says_something_else(run: Run, written: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(written)
    ran = run("contexts", "list")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1
    assert re.search(says, ran.err)


def test_a_context_keeps_a_key_and_tls(
    run: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("localhost")
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())]
    )
    keys = KeyFile(tmp_path)
    (tmp_path / "lab.key").write_text(keys.add("ada", Role.READ) + "\n")
    server = Server(database, "localhost:0", keys=keys, credentials=credentials)
    server.start()
    monkeypatch.delenv("EMBEDDB_SERVER")
    monkeypatch.chdir(tmp_path)
    try:
        add = ["contexts", "add", "lab", server.address, "--api-key", "lab.key", "--ca", "ca.pem"]
        assert f"can be read by others: chmod 600 {tmp_path}" in run(*add).err
        (tmp_path / "lab.key").chmod(0o600)
        added = run(*add, "--json").json
        assert (added["api_key_file"], added["ca"]) == (str(tmp_path / "lab.key"), str(tmp_path / "ca.pem"))
        assert run("stats").code == 0
        assert run("contexts", "list").code == 0
        assert "default" in complete("embeddb search --collection def", tmp_path / "config.toml")
        monkeypatch.setenv("EMBEDDB_API_KEY", "another")
        assert "is not known here" in run("stats").err
        monkeypatch.delenv("EMBEDDB_API_KEY")
        (tmp_path / "lab.key").unlink()
        assert "api_key_file" in run("stats").err
    finally:
        server.stop(drain_seconds=1)


def test_shells_complete_commands_and_names(
    server: Server, make_collection: MakeCollection, tmp_path: Path
) -> None:
    name = make_collection("given").name
    config = tmp_path / "config.toml"
    config.write_text(f'[contexts.lab]\nserver = "{server.address}"\n')
    assert complete("embeddb sea", config) == ["search"]
    assert complete("embeddb stats --server l", config) == ["lab"]
    assert name in complete(f"embeddb search --server lab --collection {name[:-1]}", config)
    assert complete("embeddb search --server lab --model gi", config) == ["given"]
    config.write_text("broken")
    assert complete("embeddb stats --server l", config) == []
    assert complete("embeddb search --server 127.0.0.1:1 --model gi", config) == []
