"""The container's files are linted, and their installation is run; no container engine is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grpc
import pytest
import trustme
from prometheus_client import CollectorRegistry

from embeddb.database import Database
from embeddb_client import Client
from embeddb_server import Server
from embeddb_server.config import Config
from embeddb_server.metrics import DatabaseCollector, MetricsInterceptor

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "docker/Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml"],
        ["kubernetes-validate", "--strict", "docker/kubernetes.yaml"],
    ],
    ids=lambda command: command[0],
)
def test_the_files_are_well_formed(command: list[str]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_name_settings_that_there_are() -> None:
    names: set[str] = set()
    for file in ("Dockerfile", "compose.yaml", "kubernetes.yaml", "healthcheck.py"):
        names.update(re.findall(r"EMBEDDB_SERVER_(\w+)", (DOCKER / file).read_text()))
    assert {"DATA", "MODELS", "ADDRESS", "METRICS_PORT", "PORT"} <= names
    assert names <= {name.upper() for name in Config.model_fields}


def test_everything_that_the_server_can_use_is_installed() -> None:
    project = tomllib.loads((ROOT / "server" / "pyproject.toml").read_text())["project"]
    installed = set(re.findall(r"\[(.+?)\]", (DOCKER / "install.sh").read_text())[-2:])
    extras = {name for group in installed for name in group.split(",")}
    assert set(project["optional-dependencies"]) <= extras


def test_the_health_check_tells_a_server_that_serves(server: Server, free_port: int, tmp_path: Path) -> None:
    def check(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | variables
        command = [sys.executable, DOCKER / "healthcheck.py"]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    port = server.address.rpartition(":")[2]
    assert check({"EMBEDDB_SERVER_PORT": port}).returncode == 0
    file = tmp_path / "server.toml"
    file.write_text(f"port = {port}\n")
    named = {"EMBEDDB_SERVER_CONFIG": str(file)}
    assert check(named).returncode == 0
    # As for the server, the environment goes before the file.
    missing = check(named | {"EMBEDDB_SERVER_PORT": str(free_port)})
    assert missing.returncode == 1
    assert "UNAVAILABLE" in missing.stderr


def test_the_health_check_of_a_server_with_mutual_tls_shows_a_certificate(
    database: Database, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    key, chain = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    ca = authority.cert_pem.bytes()
    credentials = grpc.ssl_server_credentials([(key, chain)], ca, require_client_auth=True)
    server = Server(database, credentials=credentials)
    server.start()
    files = {"EMBEDDB_TLS_CA": ca, "EMBEDDB_TLS_CERTIFICATE": chain, "EMBEDDB_TLS_KEY": key}
    named = {variable: str(tmp_path / variable) for variable in files}
    for variable, content in files.items():
        Path(named[variable]).write_bytes(content)

    def check(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"EMBEDDB_SERVER_PORT": server.address.rpartition(":")[2]} | variables
        command = [sys.executable, DOCKER / "healthcheck.py"]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert check(named).returncode == 0
    assert "UNAVAILABLE" in check({}).stderr
    missing = check(named | {"EMBEDDB_TLS_CA": str(tmp_path / "none.pem")})
    assert (missing.returncode, missing.stderr.strip()) == (
        1,
        f"{tmp_path / 'none.pem'}: No such file or directory",
    )
    server.stop(drain_seconds=1)


def test_the_dashboard_asks_for_metrics_that_there_are(database: Database) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(database))
    server = Server(database, interceptors=[MetricsInterceptor(registry)])
    server.start()
    with Client(server.address) as client:
        client.stats()
    server.stop(drain_seconds=5)
    names = {sample.name for metric in registry.collect() for sample in metric.samples}
    dashboard = json.loads((DOCKER / "grafana" / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        (target,) = panel["targets"]
        asked = set(re.findall(r"embeddb_\w+", target["expr"]))
        assert asked
        assert asked <= names, target["expr"]


@pytest.mark.nightly
def test_the_images_installation_gives_a_server(tmp_path: Path, free_port: int) -> None:
    # The image for a CPU differs by the index that torch comes from, which not every machine can reach.
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [DOCKER / "install.sh", "cuda", tmp_path / "environment"]
    subprocess.run(command, check=True, env=environment)
    assert list((tmp_path / "environment").rglob("embeddb/__pycache__/database.*.pyc"))
    programs = tmp_path / "environment" / "bin"
    settings = {"EMBEDDB_SERVER_DATA": str(tmp_path / "data"), "EMBEDDB_SERVER_PORT": str(free_port)}
    alone = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"} | settings
    with subprocess.Popen(["embeddb-server"], env=alone, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert f" ready on 127.0.0.1:{free_port}," in process.stdout.readline()
            subprocess.run(["python", DOCKER / "healthcheck.py"], check=True, env=alone)
        finally:
            process.terminate()
    assert process.returncode == 0
