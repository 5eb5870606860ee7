"""API keys, TLS, and the refusal to let just anybody in."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import grpc
import pytest
import trustme
from google.protobuf.descriptor_pool import Default
from grpc_health.v1 import health_pb2, health_pb2_grpc

import embeddb
from embeddb.database import Database
from embeddb.errors import (
    AlreadyExistsError,
    DataLossError,
    EmbeddbError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from embeddb.questions import Clusters, KMeans
from embeddb_client import Access, Client, PutItem
from embeddb_client.cli.options import connect
from embeddb_protos.v1 import search_pb2, search_pb2_grpc
from embeddb_server import Server
from embeddb_server.authorization import REQUIRED
from embeddb_server.keys import KeyFile, Role
from embeddb_server.main import main
from embeddb_server.server import SERVICES
from embeddb_server.services import euclides


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with embeddb.open(tmp_path_factory.mktemp("data")) as database:
        database.register_model("given", {"loader": "vectors", "dimension": 2})
        for name in ("mine", "other"):
            database.create_collection(name, ["given"])
        yield database


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path)


@pytest.fixture
def address(database: Database, keys: KeyFile) -> Iterator[str]:
    server = Server(database, keys=keys)
    server.start()
    yield server.address
    server.stop(drain_seconds=1)


def client(address: str, key: str | None, collection: str = "mine") -> Client:
    return Client(address, collection=collection, timeout=10, access=Access(api_key=key))


def test_every_call_says_what_role_it_needs() -> None:
    pool = Default()
    methods = {
        f"{service.removeprefix('embeddb.v1.')}/{method.name}"
        for service in (*SERVICES, euclides.SERVICE)
        for method in pool.FindServiceByName(service).methods
    }
    assert set(REQUIRED) == methods


def test_without_keys_everybody_may_call_and_with_the_first_one_nobody_else(
    address: str, keys: KeyFile
) -> None:
    with client(address, None) as anonymous:
        assert anonymous.search([1.0, 0.0]) == []
        secret = keys.add("me", Role.READ)
        with pytest.raises(UnauthenticatedError, match=r"wants an API key: .*EMBEDDB_API_KEY"):
            anonymous.search([1.0, 0.0])
    with client(address, secret) as reader:
        assert reader.search([1.0, 0.0]) == []
        keys.remove("me")
        keys.add("another", Role.READ)
        with pytest.raises(UnauthenticatedError, match="not known here"):
            reader.search([1.0, 0.0])


def test_a_stream_that_is_silent_needs_a_key_like_any_other(address: str, keys: KeyFile) -> None:
    keys.add("me", Role.READ)
    over = threading.Event()

    def nothing() -> Iterator[search_pb2.StreamSearchRequest]:
        over.wait(60)
        yield from ()

    with grpc.insecure_channel(address) as channel:
        stream = search_pb2_grpc.SearchServiceStub(channel).StreamSearch(nothing(), timeout=30)
        assert stream.code() is grpc.StatusCode.UNAUTHENTICATED
        over.set()


def test_a_role_may_do_what_those_below_it_may_and_no_more(address: str, keys: KeyFile) -> None:
    reader, writer, admin = (keys.add(role.name, role) for role in Role)
    vector = [1.0, 0.0]
    with client(address, reader) as mine:
        with pytest.raises(PermissionDeniedError, match=r"needs the role write; the key 'READ' has read"):
            mine.put("a", features={"given": vector})
        assert mine.stats().version
    with client(address, writer) as mine:
        mine.put("a", features={"given": vector})
        with pytest.raises(PermissionDeniedError, match="needs the role admin"):
            mine.create_collection("third")
    with client(address, admin) as mine:
        mine.delete("a")
        mine.create_collection("third")
        mine.drop_collection("third")


def test_a_key_opens_its_collections_alone(address: str, keys: KeyFile) -> None:
    secret = keys.add("me", Role.ADMIN, ["mine"])
    vector = [1.0, 0.0]
    with client(address, secret) as mine:
        mine.put("a", features={"given": vector})
        assert [hit.id for hit in mine.search(vector)] == ["a"]
        assert [result.id for result in mine.put_many([PutItem("b", features={"given": vector})])] == ["b"]
        assert [info.name for info in mine.models()] == ["given"]
        for refused in (
            lambda: mine.collection("other").search(vector),
            lambda: mine.collection("other").put_many([PutItem("b", features={"given": vector})]),
            lambda: mine.collection("default").search(vector),
            lambda: mine.drop_collection("other"),
            mine.stats,
        ):
            with pytest.raises(PermissionDeniedError, match="is for mine alone"):
                refused()
        mine.delete("a")
        mine.delete("b")


def test_probes_need_no_key(address: str, keys: KeyFile) -> None:
    keys.add("me", Role.ADMIN)
    with grpc.insecure_channel(address) as channel:
        response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_to_watch_the_health_takes_a_key_since_it_takes_a_stream(address: str, keys: KeyFile) -> None:
    metadata = [("authorization", f"Bearer {keys.add('me', Role.READ, ['mine'])}")]
    with grpc.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        request = health_pb2.HealthCheckRequest()
        with pytest.raises(grpc.RpcError) as refused:
            next(watch(request))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        watched = watch(request, metadata=metadata)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        watched.cancel()


def test_a_key_that_cannot_be_a_header_is_not_shown() -> None:
    with pytest.raises(InvalidArgumentError, match="api_key: '0 characters' given"):
        Access(api_key="")
    with pytest.raises(InvalidArgumentError, match="api_key: '12 characters' given") as refused:
        Access(api_key="edb_letters\n")
    assert "letters" not in str(refused.value)


def test_the_file_holds_no_secret_and_is_its_owners(tmp_path: Path, keys: KeyFile) -> None:
    secret = keys.add("me", Role.WRITE, ["mine"])
    file = tmp_path / "keys.json"
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = KeyFile(tmp_path).find(secret)
    assert found is not None
    assert (found.name, found.role, found.collections) == ("me", Role.WRITE, ("mine",))
    assert secret not in repr(Access(api_key=secret))


def test_a_damaged_file_lets_nobody_in(address: str, tmp_path: Path, keys: KeyFile) -> None:
    secret = keys.add("me", Role.ADMIN)
    (tmp_path / "keys.json").write_text("{")
    with client(address, secret) as mine, pytest.raises(DataLossError, match="no key counts"):
        mine.stats()


def test_the_command_makes_lists_and_removes_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    assert main(["keys", *data, "add", "me", "--role", "write", "--collection", "mine"]) == 0
    secret = capsys.readouterr().out.strip()
    assert KeyFile(tmp_path).find(secret) is not None
    assert main(["keys", *data, "list"]) == 0
    assert capsys.readouterr().out.startswith("me\twrite\tmine\t")
    assert main(["keys", *data, "add", "me"]) == 1
    assert main(["keys", *data, "add", "you", "--collection", "mine,other"]) == 1
    assert main(["keys", *data, "add", "you", "--secret", str(tmp_path / "none")]) == 1
    assert main(["keys", *data, "remove", "you"]) == 1
    assert capsys.readouterr().err.count("embeddb-server: ") == 4
    assert main(["keys", *data, "remove", "me"]) == 0
    assert main(["keys", "--data", str(tmp_path / "mistyped"), "list"]) == 0
    assert not (tmp_path / "mistyped").exists()
    assert KeyFile(tmp_path).all() == []


def test_a_secret_from_elsewhere_can_be_added_again_and_again(
    tmp_path: Path, keys: KeyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 40 + "\n")
    add = ["keys", "--data", str(tmp_path), "add", "me", "--role", "admin", "--secret", str(secret)]
    assert [main(add), main(add)] == [0, 0]
    assert keys.find("s" * 40) is not None
    secret.write_text("other" * 8)
    assert main(add) == 1
    with pytest.raises(InvalidArgumentError, match="at least 32 characters"):
        keys.add("you", Role.READ, secret="short")
    with pytest.raises(InvalidArgumentError, match="of printable ASCII"):
        keys.add("you", Role.READ, secret="ä" * 40)
    assert "s" * 40 not in capsys.readouterr().out


def test_names_of_keys_are_taken_once(keys: KeyFile) -> None:
    keys.add("me", Role.READ)
    with pytest.raises(AlreadyExistsError):
        keys.add("me", Role.READ)
    with pytest.raises(NotFoundError, match="there are: me"):
        keys.remove("you")


def test_beyond_this_machine_callers_must_show_who_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path), "--address", "0.0.0.0", "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert "0.0.0.0 can be reached from other machines" in said
    assert "embeddb-server keys add" in said


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def pem(blob: trustme.Blob, path: Path) -> Path:
    blob.write_to_path(str(path))
    return path


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    return pem(authority.cert_pem, tmp_path / "ca.pem")


def serve_tls(
    database: Database, authority: trustme.CA, client_ca: bytes | None, not_after: datetime | None = None
) -> Server:
    issued = authority.issue_cert("localhost", not_after=not_after)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    credentials = grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), chain)], client_ca, require_client_auth=client_ca is not None
    )
    server = Server(database, "localhost:0", credentials=credentials)
    server.start()
    return server


def test_tls_carries_keys_and_calls(database: Database, authority: trustme.CA, ca: Path) -> None:
    server = serve_tls(database, authority, None)
    with Client(server.address, collection="mine", access=Access(ca=ca)) as mine:
        assert mine.search([1.0, 0.0]) == []
    with Client(server.address, timeout=2) as plain, pytest.raises(EmbeddbError):
        plain.delete("a")
    server.stop(drain_seconds=1)


def test_mutual_tls_refuses_a_caller_without_a_certificate(
    database: Database, authority: trustme.CA, ca: Path, tmp_path: Path
) -> None:
    server = serve_tls(database, authority, ca.read_bytes())
    issued = authority.issue_cert("caller@example.org")
    access = Access(
        ca=ca,
        certificate=pem(issued.cert_chain_pems[0], tmp_path / "client.pem"),
        key=pem(issued.private_key_pem, tmp_path / "client.key"),
    )
    with Client(server.address, collection="mine", access=access) as mine:
        assert mine.search([1.0, 0.0]) == []
    with Client(server.address, timeout=2, access=Access(ca=ca)) as nobody, pytest.raises(UnavailableError):
        nobody.delete("a")
    server.stop(drain_seconds=1)


def test_the_command_line_shows_what_the_environment_says(
    address: str, keys: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDB_API_KEY", keys.add("me", Role.READ))
    with connect(address) as allowed:
        assert allowed.stats().version
    monkeypatch.delenv("EMBEDDB_API_KEY")
    with connect(address) as refused, pytest.raises(UnauthenticatedError):
        refused.stats()


def test_labels_are_stored_by_who_may_write(address: str, keys: KeyFile) -> None:
    reader, writer = (keys.add(role.name, role) for role in (Role.READ, Role.WRITE))
    with client(address, writer) as mine:
        for n in range(4):
            mine.put(f"{n}", features={"given": [1.0, n]})
        assert mine.ask(Clusters(KMeans(2), field="label")).written == 4
    with client(address, reader) as mine:
        assert len(mine.ask(Clusters(KMeans(2))).labels) == 4
        with pytest.raises(PermissionDeniedError, match=r"with field needs the role write; the key 'READ'"):
            mine.ask(Clusters(KMeans(2), field="label"))


def test_neither_logs_nor_errors_tell_a_secret(tmp_path: Path) -> None:
    secret = KeyFile(tmp_path).add("me", Role.READ)
    command = [sys.executable, "-m", "embeddb_server.main", "--data", str(tmp_path), "--port", "0"]
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [*command, "--log-level", "debug"], stdout=subprocess.PIPE, stderr=file, text=True
        ) as process,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().split(" ready on ")[1].partition(",")[0]
        told = []
        for key in (secret, f"{secret[:-1]}!"):
            with client(address, key) as caller, pytest.raises(EmbeddbError) as caught:
                caller.create_collection("new")
            told.append(str(caught.value))
        process.terminate()
    written = log.read_text() + "\n".join(told)
    assert "opening" in written
    assert "needs the role admin" in written
    assert "not known here" in written
    assert secret[:-1] not in written


def test_who_removes_the_last_key_does_not_let_everybody_in(database: Database, keys: KeyFile) -> None:
    secret = keys.add("me", Role.ADMIN)
    server = Server(database, keys=keys, keys_required=True)
    server.start()
    with client(server.address, secret) as mine:
        mine.delete_key("me")
        with pytest.raises(UnauthenticatedError):
            mine.stats()
    with client(server.address, None) as anybody, pytest.raises(UnauthenticatedError):
        anybody.stats()
    server.stop(drain_seconds=1)


def test_keys_that_are_changed_at_once_are_all_changed(tmp_path: Path, keys: KeyFile) -> None:
    for n in range(8):
        keys.add(f"old-{n}", Role.READ)

    def change(n: int) -> None:
        # Another process has a `KeyFile` of its own.
        own = KeyFile(tmp_path)
        own.remove(f"old-{n}")
        own.add(f"new-{n}", Role.READ)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(8)))
    assert [key.name for key in keys.all()] == [f"new-{n}" for n in range(8)]


@pytest.mark.parametrize(
    ("named", "field"),
    [
        ({"ca": "key"}, "ca"),
        ({"ca": "empty"}, "ca"),
        ({"certificate": "certificate", "key": "other"}, "certificate, key"),
        ({"certificate": "key", "key": "certificate"}, "certificate, key"),
    ],
)
def test_wrong_files_of_tls_are_told_before_any_call(
    authority: trustme.CA, tmp_path: Path, named: dict[str, str], field: str
) -> None:
    issued, other = (authority.issue_cert("caller@example.org") for _ in range(2))
    (tmp_path / "empty").touch()
    pem(issued.cert_chain_pems[0], tmp_path / "certificate")
    pem(issued.private_key_pem, tmp_path / "key")
    pem(other.private_key_pem, tmp_path / "other")
    access = Access(**{name: tmp_path / file for name, file in named.items()})
    with pytest.raises(InvalidArgumentError, match=rf"^{field}: .*must be .*PEM"):
        Client("localhost:7080", access=access)


@pytest.mark.parametrize("named", [{"ca": ""}, {"ca": "/none.pem"}, {"certificate": "", "key": ""}])
def test_files_of_tls_that_are_not_there_do_not_send_a_key_in_clear(named: dict[str, str]) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        Client("localhost:7080", access=Access("k" * 40, **named))


def test_an_access_of_other_types_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^tls: 'yes' given, must be true or false"):
        Access(tls="yes")  # type: ignore[arg-type]


def test_why_no_connection_comes_about_is_said(
    database: Database, authority: trustme.CA, ca: Path, tmp_path: Path, free_port: int
) -> None:
    other = pem(trustme.CA().cert_pem, tmp_path / "other.pem")
    encrypted, expired, mutual, clear = (
        serve_tls(database, authority, None),
        serve_tls(database, authority, None, not_after=datetime(2020, 1, 1)),
        serve_tls(database, authority, ca.read_bytes()),
        Server(database, "localhost:0"),
    )
    clear.start()
    elsewhere = encrypted.address.replace("localhost", "127.0.0.1")
    for address, access, cause in (
        (encrypted.address, Access(), "it may want TLS"),
        (encrypted.address, Access(ca=other), "its certificate is not signed by"),
        (expired.address, Access(ca=ca), "its certificate has expired"),
        (elsewhere, Access(ca=ca), "its certificate is for another name"),
        (mutual.address, Access(ca=ca), "or a certificate of the caller"),
        (clear.address, Access(ca=ca), "it does not speak TLS"),
        (f"127.0.0.1:{free_port}", Access(), "nothing listens at that address"),
    ):
        with Client(address, timeout=20, access=access) as caller, pytest.raises(UnavailableError) as caught:
            caller.create_collection("nix")
        assert str(caught.value).startswith("the server cannot be reached: ")
        assert cause in str(caught.value)
    for server in (encrypted, expired, mutual, clear):
        server.stop(drain_seconds=0)
