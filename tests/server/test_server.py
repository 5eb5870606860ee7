"""The server as a process: the ready line, health, reflection, SIGTERM, and what a crash leaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import embeddb
from embeddb.database import Database
from embeddb.errors import InternalError, InvalidArgumentError, NotFoundError, UnavailableError
from embeddb.query import PutItem, Vector
from embeddb_client import Client
from embeddb_protos.v1 import collections_pb2, collections_pb2_grpc
from embeddb_protos.wire.errors import error_from_call
from embeddb_server import Server
from embeddb_server.main import main

Start = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `embeddb-server` on a free port, waits for its ready line; gives the process and the address."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        data: Path, *options: str, stderr: int | TextIO = subprocess.DEVNULL
    ) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "embeddb_server.main", "--data", str(data), "--port", "0", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        processes.append(process)
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith(f"embeddb-server {embeddb.__version__} ready on 127.0.0.1:")
        assert str(data) in ready
        return process, ready.split(" ready on ")[1].partition(",")[0]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def vector(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=8)


def test_acknowledged_puts_survive_kill_9_and_searches_answer_the_same(start: Start, tmp_path: Path) -> None:
    process, address = start(tmp_path)
    with Client(address) as client:
        client.register_model("given", {"loader": "vectors", "dimension": 8})
        client.add_model("given")
        client.put_many([PutItem(f"{n}", features={"given": vector(n)}) for n in range(200)])
        client.delete_many([f"{n}" for n in range(0, 200, 7)])
        client.put("3", features={"given": vector(1000)}, metadata={"changed": True})
        before = [(hit.id, hit.score) for hit in client.search(vector(5), k=50)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, address = start(tmp_path)
    with Client(address) as client:
        assert {item.id for item in client.items()} == {f"{n}" for n in range(200) if n % 7}
        assert client.get("3").metadata == {"changed": True}
        assert client.search(vector(1000), k=1)[0].id == "3"
        after = [(hit.id, hit.score) for hit in client.search(vector(5), k=50)]
    assert [each for each, _ in after] == [each for each, _ in before]
    assert [score for _, score in after] == pytest.approx([score for _, score in before])


KILLED = """
import os, sys, threading
import numpy as np
from embeddb.query import PutItem, Search, Vector
from embeddb_client import Client

collection = Client(sys.argv[1]).collection()
answered = [threading.Event() for _ in range(3)]
vector = np.ones(8)

def search():
    for _ in collection.stream_search(iter(lambda: Search([Vector(vector)]), None)):
        answered[0].set()

def put():
    while True:
        collection.put_many([PutItem(str(n), features={"given": vector}) for n in range(500)])
        answered[1].set()

def call():
    while True:
        collection.search(Vector(vector))
        answered[2].set()

for work in (search, put, call):
    threading.Thread(target=work, daemon=True).start()
for each in answered:
    each.wait(30)
os.kill(os.getpid(), 9)
"""


def test_clients_that_are_killed_in_the_midst_of_streams_leave_nothing_behind(
    start: Start, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w+") as log:
        process, address = start(tmp_path / "data", "--max-streams", "2", stderr=log)
        with Client(address) as client:
            client.register_model("given", {"loader": "vectors", "dimension": 8})
            collection = client.collection()
            collection.add_model("given")
            collection.put("first", features={"given": vector(0)})
            for _ in range(3):
                # The client has two streams open, so that those of the one before must have ended.
                killed = subprocess.run([sys.executable, "-c", KILLED, address], stderr=log)
                assert killed.returncode == -signal.SIGKILL
            assert [hit.id for hit in collection.search(Vector(vector(0)), k=1)] == ["first"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        log.seek(0)
        told = log.read()
        assert "draining" in told
        assert [line for line in told.splitlines() if " INFO " not in line] == []


def test_sigterm_drains_and_exits_with_0(start: Start, tmp_path: Path) -> None:
    process, address = start(tmp_path)
    with Client(address) as client:
        assert client.stats().version == embeddb.__version__
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


SLOW = """
import sys, time
from embeddb.models import Registry
from embeddb_server.main import main

def restore(*_):
    print("loading", flush=True)
    time.sleep(300)

Registry.restore = restore
sys.exit(main(sys.argv[1:]))
"""


def test_sigterm_while_models_load_ends_at_once(tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": 2})
    command = [sys.executable, "-c", SLOW, "--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    with embeddb.open(tmp_path) as database:
        assert [model.name for model in database.models()] == ["given"]


def test_a_folder_in_use_and_a_port_in_use_are_one_line(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, address = start(tmp_path / "a")
    assert main(["--data", str(tmp_path / "a"), "--port", "0"]) == 1
    assert "is open in another process" in capsys.readouterr().err
    taken = ["--data", str(tmp_path / "b"), "--port", address.rpartition(":")[2], "--log-level", "error"]
    command = [sys.executable, "-m", "embeddb_server.main", *taken]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"embeddb-server: cannot listen on {address}: Address already in use\n"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("given", "kept"), [(None, "-event_engine_listener"), ("tcp_rcv_lowat",) * 2])
def test_what_the_operator_says_of_grpc_goes_first(given: str | None, kept: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    script = (
        "import os; from embeddb_server.main import main; main(['--version'])\n"
        "import grpc; grpc.insecure_channel('127.0.0.1:1').close(); print(os.environ['GRPC_EXPERIMENTS'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environ if given is None else environ | {"GRPC_EXPERIMENTS": given},
    )
    assert done.stdout.splitlines()[-1] == kept
    # gRPC would tell here of an experiment that it does not know.
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["keys", "list"], ["config"], ["--help"], ["verify", "--help"]], ids=lambda each: each[0]
)
def test_what_does_not_serve_does_not_wait_for_torch(arguments: list[str], tmp_path: Path) -> None:
    if "--help" not in arguments:
        arguments = [*arguments[:1], "--data", str(tmp_path), *arguments[1:]]
    script = (
        "import sys; from embeddb_server.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    assert 'torch' not in sys.modules and 'faiss' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_until_the_database_is_open_callers_are_told_to_come_again(database: Database) -> None:
    server = Server(None)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        names = ("", "embeddb.v1.SearchService")
        for name in names:
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        stub = collections_pb2_grpc.CollectionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetCollection(collections_pb2.GetCollectionRequest())
        error = error_from_call(caught.value)
        assert isinstance(error, UnavailableError)
        assert "the server is starting" in str(error)
        server.serve(database)
        assert stub.GetCollection(collections_pb2.GetCollectionRequest()).collection.name == "default"
        for name in names:
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.SERVING
    server.stop(drain_seconds=1)


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none(port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), f"--port={port}"]) == 1
    assert f"port: '{port}' given. Input should be" in capsys.readouterr().err


def test_health_and_reflection_know_every_service(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        names = {
            service.name
            for response in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            )
            for service in response.list_services_response.service
        }
        ours = {name for name in names if name.startswith("embeddb.v1.")}
        assert {name.rpartition(".")[2] for name in ours} == {
            "ItemService",
            "SearchService",
            "ModelService",
            "AnalysisService",
            "CollectionService",
            "AdminService",
        }
        health = health_pb2_grpc.HealthStub(channel)
        for name in ["", *ours]:
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.SERVING


def test_stop_lets_calls_under_way_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embeddb.open(tmp_path) as database:
        server = Server(database)
        server.start()
        entered, release, stats = threading.Event(), threading.Event(), database.stats

        def slow() -> embeddb.query.Stats:
            entered.set()
            release.wait(10)
            return stats()

        monkeypatch.setattr(database, "stats", slow)
        answers = []
        with Client(server.address) as client:
            caller = threading.Thread(target=lambda: answers.append(client.stats()))
            caller.start()
            assert entered.wait(10)
            stopper = threading.Thread(target=server.stop)
            stopper.start()
            time.sleep(0.1)
            release.set()
            caller.join()
            stopper.join()
        assert answers[0].version == embeddb.__version__


def test_a_defect_is_internal_and_its_traceback_stays_in_the_log(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(database, "stats", broken)
    with pytest.raises(InternalError) as caught:
        client.stats()
    assert caught.value.request_id
    assert "secret" not in str(caught.value)
    assert caught.value.request_id in caplog.text
    assert "secret detail" in caplog.text


def test_the_caller_may_name_the_request(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = collections_pb2_grpc.CollectionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetCollection(
                collections_pb2.GetCollectionRequest(name="nix"), metadata=[("x-request-id", "mine-7")]
            )
    error = error_from_call(caught.value)
    assert error.request_id == "mine-7"
    assert error.details == {"resource": "collection", "name": "nix"}


def test_every_call_has_a_request_id_of_its_own(client: Client) -> None:
    def refused() -> str | None:
        with pytest.raises(NotFoundError) as caught:
            client.model("nix")
        return caught.value.request_id

    assert refused() != refused()


def test_a_server_that_is_not_there_is_an_error_of_ours() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with Client(f"127.0.0.1:{port}", timeout=10) as client, pytest.raises(UnavailableError):
            client.delete("a")


def test_safe_calls_are_retried_while_the_server_comes_up(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with embeddb.open(tmp_path) as database, Client(f"127.0.0.1:{port}", timeout=30) as client:
        servers: list[Server] = []

        def later() -> None:
            time.sleep(0.5)
            servers.append(Server(database, f"127.0.0.1:{port}"))
            servers[0].start()

        thread = threading.Thread(target=later)
        thread.start()
        assert client.stats().version == embeddb.__version__
        thread.join()
        servers[0].stop(drain_seconds=0)


@pytest.mark.parametrize("method", ["ItemService/StreamPutItems", "SearchService/Search"])
def test_bytes_that_are_no_message_are_the_callers_mistake(method: str, database: Database) -> None:
    server = Server(database)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        make = channel.stream_stream if "Stream" in method else channel.unary_unary
        request = iter([b"\xff\xff"]) if "Stream" in method else b"\xff\xff"
        with pytest.raises(grpc.RpcError) as caught:
            list(make(f"/embeddb.v1.{method}")(request))
        error = error_from_call(caught.value)
        assert isinstance(error, InvalidArgumentError)
        assert str(error) == "request: 2 bytes given, must be a message as the method takes it"
    # A stream that gRPC itself had found wanting would keep the server from ending.
    begun = time.monotonic()
    server.stop(drain_seconds=20)
    assert time.monotonic() - begun < 10


def test_a_data_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--data", str(tmp_path / "file"), "--port", "0"]) == 1
    assert "file is no folder for data" in capsys.readouterr().err
