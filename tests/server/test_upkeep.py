"""Backups, checks and API keys over gRPC, by both clients and the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import embeddb
from embeddb.database import Database
from embeddb.errors import (
    AlreadyExistsError,
    CancelledError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from embeddb.questions import Progress
from embeddb.storage import verify
from embeddb_client import Access, AsyncClient, Client
from embeddb_server import Server
from embeddb_server.keys import KeyFile, Role
from tests.cli.conftest import Run, run

__all__ = ["run"]
PAYLOAD = "what only this item says"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a text in `default`, and an empty collection."""
    with embeddb.open(tmp_path / "data") as database:
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        database.collection().add_model("given")
        database.create_collection("empty", ["given"])
        database.collection().put("a", PAYLOAD, features={"given": [1, 2]})
    return tmp_path / "data"


@pytest.fixture
def database(data: Path) -> Iterator[Database]:
    with embeddb.open(data) as database:
        yield database


@pytest.fixture
def server(database: Database, data: Path) -> Iterator[Server]:
    server = Server(database, keys=KeyFile(data))
    server.start()
    yield server
    server.stop(drain_seconds=1)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address, timeout=20) as client:
        yield client


def test_a_backup_is_a_data_folder(client: Client, data: Path) -> None:
    told: list[Progress] = []
    made = client.backup("monday", on_progress=told.append)
    assert (made.name, made.collections) == ("monday", ("default", "empty"))
    client.put("b", features={"given": [3, 4]})
    with embeddb.open(data / "backups" / "monday") as restored:
        assert [item.id for item in restored.collection().items()] == ["a"]
    with pytest.raises(AlreadyExistsError, match="monday"):
        client.backup("monday")
    for name in ("../out", "/tmp/out", ".hidden", "a/b"):
        with pytest.raises(InvalidArgumentError, match=r"backup\.name"):
            client.backup(name)
    assert client.backup().name.startswith("20")
    assert sorted(path.name for path in data.parent.iterdir()) == ["data"]


def test_a_backup_tells_how_far_it_is_and_ends_when_nobody_waits(database: Database, data: Path) -> None:
    told: list[Progress] = []
    database.save_backup("whole", on_progress=told.append)
    assert told == [Progress("copying", 0, 2), Progress("copying", 1, 2)]

    def give_up(progress: Progress) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        database.save_backup("half", on_progress=give_up)
    assert [path.name for path in (data / "backups").iterdir()] == ["whole"]
    told.clear()
    assert database.verify_data(on_progress=told.append) == []
    assert [progress.stage for progress in told] == ["copying", "copying", "checking", "checking"]


def test_collections_come_and_go_while_a_backup_is_made(database: Database, data: Path) -> None:
    def create(progress: Progress) -> None:
        if progress.done == 0:
            with ThreadPoolExecutor() as pool:
                pool.submit(database.create_collection, "new").result(20)

    def drop(progress: Progress) -> None:
        if progress.done == 0:
            database.drop_collection("empty")

    assert database.save_backup("whole", on_progress=create).collections == ("default", "empty")
    with pytest.raises(FailedPreconditionError, match="'empty' came or went while the backup was made"):
        database.save_backup("half", on_progress=drop)
    assert [path.name for path in (data / "backups").iterdir()] == ["whole"]


def test_what_a_crash_left_of_a_copy_is_deleted_and_no_backup(tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database:
        database.save_backup("a.unfinished")
        database.save_backup("a")
    backups = tmp_path / "backups"
    assert verify(backups / "a.unfinished") == []
    for left in (".b.unfinished", ".verify"):
        (backups / left / "catalogue").mkdir(parents=True)
    with embeddb.open(tmp_path):
        assert sorted(path.name for path in backups.iterdir()) == ["a", "a.unfinished"]


def test_a_backup_that_has_no_place_is_an_error_of_ours(tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database:
        (tmp_path / "backups").write_text("a file")
        for call in (partial(database.save_backup, "a"), database.verify_data):
            with pytest.raises(UnavailableError, match="backups"):
                call()


def test_what_is_damaged_is_found_while_it_is_served(data: Path) -> None:
    file = data / "collections" / "default" / "data.mdb"
    stored = file.read_bytes()
    assert PAYLOAD.encode() in stored
    file.write_bytes(stored.replace(PAYLOAD.encode(), PAYLOAD.encode().upper()))
    with embeddb.open(data) as database:
        server = Server(database)
        server.start()
        with Client(server.address) as client:
            (finding,) = client.verify_data()
        server.stop(drain_seconds=1)
    assert str(finding) == "default: the payload of item 'a' is damaged; it is deleted; put the item again"
    assert list((data / "backups").iterdir()) == []
    assert verify(data) == [finding]


def test_keys_count_at_once(client: Client, server: Server) -> None:
    assert client.keys() == []
    for first in (("ada", "write"), ("ada", "admin", ["empty"])):
        with pytest.raises(FailedPreconditionError, match="the first key must have the role admin"):
            client.create_key(*first)
    secret = client.create_key("root", "admin")
    with pytest.raises(UnauthenticatedError):
        client.keys()
    with Client(server.address, access=Access(api_key=secret)) as root:
        (key,) = root.keys()
        assert (key.name, key.role, key.collections) == ("root", "admin", ())
        writer = root.create_key("writer", "write", ["empty"])
        with pytest.raises(AlreadyExistsError):
            root.create_key("writer")
        with pytest.raises(InvalidArgumentError, match="'king' given, must be one of read, write"):
            root.create_key("other", "king")
        with pytest.raises(InvalidArgumentError, match="collections"):
            root.create_key("other", "read", "letters")
        with Client(server.address, access=Access(api_key=writer)) as limited:
            for call in (limited.keys, limited.backup, limited.verify_data):
                with pytest.raises(PermissionDeniedError):
                    call()
        with pytest.raises(FailedPreconditionError, match="'root' is the last with the role admin"):
            root.delete_key("root")
        root.delete_key("writer")
        (left,) = root.keys()
        assert left == key
        with pytest.raises(NotFoundError):
            root.delete_key("writer")


def test_a_server_without_a_file_of_keys_makes_none(database: Database) -> None:
    server = Server(database)
    server.start()
    with Client(server.address) as client, pytest.raises(FailedPreconditionError, match="takes no API keys"):
        client.create_key("ada")
    server.stop(drain_seconds=1)


def test_by_asyncio(server: Server, data: Path) -> None:
    async def look_after() -> None:
        async with AsyncClient(server.address) as client:
            assert (await client.backup("one")).name == "one"
            assert await client.verify_data() == []
            secret = await client.create_key("ada", "admin")
        async with AsyncClient(server.address, access=Access(api_key=secret)) as client:
            assert [key.name for key in await client.keys()] == ["ada"]
            await client.delete_key("ada")

    asyncio.run(look_after())
    assert (data / "backups" / "one").is_dir()


def test_on_the_command_line(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("backup", "one").out == "backups/one: default, empty\n"
    assert run("backup", "two", "--json").json == {"name": "two", "collections": ["default", "empty"]}
    assert run("verify").out == "everything is sound\n"
    assert run("keys", "list").out == "no keys\n"
    made = run("keys", "add", "ada", "--role", "admin")
    assert KeyFile(data).find(made.out.strip()).role is Role.ADMIN  # type: ignore[union-attr]
    monkeypatch.setenv("EMBEDDB_API_KEY", made.out.strip())
    assert "ada" in run("keys", "list").out
    assert run("keys", "add", "eve", "-c", "empty", "--json").json["name"] == "eve"
    assert [key["collections"] for key in run("keys", "list", "--json").json] == [[], ["empty"]]
    assert run("keys", "rm", "eve").out == "removed eve\n"
    assert run("keys", "rm", "eve").code == 1


def test_the_command_line_says_what_is_wrong(run: Run, database: Database, data: Path) -> None:
    file = data / "collections" / "default" / "data.mdb"
    with file.open("r+b") as stored:
        stored.seek(stored.read().index(PAYLOAD.encode()))
        stored.write(PAYLOAD.encode().upper())
    ran = run("verify")
    assert (ran.code, ran.out) == (
        1,
        "1 problem(s); stop the server, and `embeddb-server verify --repair` does what each line says\n",
    )
    assert "the payload of item 'a' is damaged" in ran.err
    found = run("verify", "--json")
    assert found.code == 1
    assert '"where": "default"' in found.out
