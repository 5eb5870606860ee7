from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from embeddb.errors import FailedPreconditionError
from embeddb.models.images import MAX_ASPECT_RATIO
from embeddb.query import (
    MAX_DEPTH,
    MAX_HITS,
    MAX_ID_BYTES,
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    MAX_K,
    MAX_OPERANDS,
    MAX_RERANKED,
    MAX_TEXT,
)
from embeddb.query.items import MAX_PAGE
from embeddb.search.filter import MAX_DEPTH as MAX_FILTER_DEPTH
from embeddb.search.filter import MAX_LENGTH as MAX_FILTER_LENGTH
from embeddb_server.config import Config, load, to_toml
from embeddb_server.main import main


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file, found through the environment."""
    path = tmp_path / "server.toml"
    path.write_text('data = "from-file"\nport = 1\nlog_level = "error"\nmax_batch = 7\n')
    monkeypatch.setenv("EMBEDDB_SERVER_CONFIG", str(path))
    return path


@pytest.mark.usefixtures("file")
def test_a_flag_goes_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDB_SERVER_PORT", "2")
    monkeypatch.setenv("EMBEDDB_SERVER_LOG_LEVEL", "warning")
    config = load(["--port", "3"])
    assert (config.port, config.log_level, config.max_batch) == (3, "warning", 7)
    assert config.data == Path("from-file")
    assert config.address == "127.0.0.1"


def test_every_mistake_is_told_at_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('port = "many"\nprot = 3\ntls_key = "nowhere.pem"\n')
    monkeypatch.setenv("EMBEDDB_SERVER_MAX_BATCH", "0")
    assert main(["--log-level", "loud"]) == 1
    said = capsys.readouterr().err
    for key in (
        "data: must be set",
        "port: 'many'",
        "prot: there is no",
        "max_batch: '0'",
        "log_level: 'loud'",
    ):
        assert key in said
    assert "tls_key: 'nowhere.pem'" in said


def test_a_mistyped_variable_of_the_environment_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDB_SERVER_PROT", "7081")
    with pytest.raises(FailedPreconditionError) as caught:
        load(["--data", "d", "--max-batch", "0"])
    for mistake in ("max_batch: '0' given", "EMBEDDB_SERVER_PROT: there is no such setting"):
        assert mistake in str(caught.value)
    with pytest.raises(FailedPreconditionError, match="EMBEDDB_SERVER_PROT"):
        load(["--data", "d"])


@pytest.mark.parametrize("content", ["port = ", None])
def test_a_file_that_cannot_be_read_is_named(file: Path, content: str | None) -> None:
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(FailedPreconditionError, match=r"config: .*server\.toml' cannot be read"):
        load(["--data", "d"])


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    (tmp_path / "chain.pem").touch()
    with pytest.raises(FailedPreconditionError, match="tls_certificate and tls_key go together"):
        load(["--data", "d", "--tls-certificate", str(tmp_path / "chain.pem")])


@given(
    data=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=5),
    port=st.integers(0, 65535),
    programs=st.booleans(),
)
def test_what_config_prints_gives_the_same_settings(data: str, port: int, programs: bool) -> None:
    config = load([f"--data={data}", f"--port={port}", *["--allow-programs"] * programs])
    printed = tomllib.loads(to_toml(config))
    assert printed["data"] == config.model_dump(mode="json")["data"]
    assert type(config)(**printed) == config


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--data", "d", "--port", "9"]) == 0
    assert "port = 9\n" in capsys.readouterr().out


def test_modules_are_divided_by_commas() -> None:
    config = load(["--data", "d", "--allow-modules", "my.nets, other"])
    assert config.model_settings.python_modules == ("my.nets", "other")


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sevre"]) == 2
    assert "no command 'sevre'; there are: serve, config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("db.example", False),
    ],
)
def test_addresses_of_this_machine_are_known(address: str, is_local: bool) -> None:
    assert load(["--data", "d", "--address", address]).is_local is is_local


@pytest.mark.parametrize("host", ["127.0.0.1", "db.example", "[::1]"])
def test_an_address_with_a_port_is_refused_with_the_remedy(host: str) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        load(["--data", "d", "--address", f"{host}:7080"])
    assert f"a setting of its own: address {host}, port 7080" in str(caught.value)


DOCUMENT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize(("name", "arguments"), [("data", []), ("models", ["--data", "d"])])
def test_an_empty_folder_is_not_the_one_where_the_server_runs(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = rf"{name}: '' given.* must be a folder"
    with pytest.raises(FailedPreconditionError, match=wrong):
        load([*arguments, f"--{name}="])
    monkeypatch.setenv(f"EMBEDDB_SERVER_{name.upper()}", "")
    with pytest.raises(FailedPreconditionError, match=wrong):
        load(arguments)


def test_the_document_has_every_setting_with_its_default() -> None:
    for name, field in Config.model_fields.items():
        if field.is_required():
            default = "required"
        else:
            default = "" if field.default is None else f"`{json.dumps(field.default)}`"
        assert f"| `{name}` | {default} | {field.description} |" in DOCUMENT


def test_the_document_has_every_limit() -> None:
    defaults = Config(data=Path("d"))
    for row in (
        f"| {defaults.max_message_bytes >> 20} MiB | `max_message_bytes`",
        f"| {defaults.max_elements:,} elements | `max_elements`",
        f"| {defaults.max_calls:,} | `max_calls`",
        f"| {defaults.max_streams} | `max_streams`",
        f"| {defaults.max_queue} | `max_queue`",
        f"| {defaults.max_image_bytes >> 20} MiB | `max_image_bytes`",
        f"| {defaults.max_image_pixels:,} pixels | `max_image_pixels`",
        f"| {MAX_ASPECT_RATIO} times the other |",
        f"| {MAX_TEXT:,} characters |",
        f"| {MAX_ID_BYTES} bytes |",
        f"| {MAX_JSON_BYTES:,} bytes, nested {MAX_JSON_DEPTH} deep |",
        f"| {MAX_OPERANDS:,} operands, nested {MAX_DEPTH} deep |",
        f"| {MAX_FILTER_LENGTH:,} characters, nested {MAX_FILTER_DEPTH} deep |",
        f"`offset` | {MAX_K:,} |",
        f"| {MAX_HITS:,} |",
        f"| {MAX_RERANKED:,} |",
        f"| a page of a listing | {MAX_PAGE:,} |",
    ):
        assert row in DOCUMENT, row


def test_how_threads_wait_is_said_before_they_are_there() -> None:
    script = "import sys, embeddb_server.main; print(sorted({'numpy', 'torch', 'faiss'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PEM files of a certificate and its key, of another key, of one that is encrypted, and of none."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    own, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    key = load_pem_private_key(own.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password"))
    contents = {
        "certificate": own.cert_chain_pems[0].bytes(),
        "key": own.private_key_pem.bytes(),
        "other": other.private_key_pem.bytes(),
        "encrypted": encrypted,
        "empty": b"",
        "ca": authority.cert_pem.bytes(),
    }
    for name, content in contents.items():
        (folder / f"{name}.pem").write_bytes(content)
    return {name: str(folder / f"{name}.pem") for name in contents}


@pytest.mark.parametrize(
    ("certificate", "key", "client_ca", "wrong"),
    [
        ("certificate", "other", "ca", "tls_certificate and tls_key"),
        ("certificate", "encrypted", "ca", "tls_certificate and tls_key"),
        ("key", "certificate", "ca", "tls_certificate and tls_key"),
        ("empty", "key", "ca", "tls_certificate and tls_key"),
        ("certificate", "key", "empty", "tls_client_ca"),
        ("certificate", "key", "key", "tls_client_ca"),
    ],
)
def test_wrong_files_of_tls_are_told_before_anything_starts(
    tls: dict[str, str], certificate: str, key: str, client_ca: str, wrong: str
) -> None:
    flags = ["--tls-certificate", tls[certificate], "--tls-key", tls[key], "--tls-client-ca", tls[client_ca]]
    with pytest.raises(FailedPreconditionError, match=rf"  {wrong} must be .* given: "):
        load(["--data", "d", *flags])


def test_right_files_of_tls_are_taken(tls: dict[str, str]) -> None:
    flags = ["--tls-certificate", tls["certificate"], "--tls-key", tls["key"], "--tls-client-ca", tls["ca"]]
    assert str(load(["--data", "d", *flags]).tls_certificate) == tls["certificate"]
