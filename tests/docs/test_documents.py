"""The code of the documents runs: every ```python and ```console block, each document's blocks in order.

A block after `<!-- not run: why -->` is left out; Python that begins with `# FILE.py` is in that file, too.
Each document has a server of its own; the working folder holds `photos/`, `examples/`, and `models/`, which
is the server's folder of models.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import open_clip
import pytest
import skimage.data

import embeddb
from embeddb.models import ModelSettings
from embeddb_client.cli.main import main
from embeddb_server import Server

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(
    r"^(?P<skipped><!-- not run: [^\n]+ -->\n)?^```(?P<language>python|console)\n(?P<code>.*?)^```$",
    re.M | re.S,
)
ADDRESS = "127.0.0.1:7080"
PHOTOS = {"cat": "chelsea.png", "cup": "coffee.png", "rocket": "rocket.jpg", "bike": "motorcycle_left.png"}


@dataclass(frozen=True)
class Block:
    language: str
    code: str


def blocks_of(document: Path) -> list[Block]:
    found = BLOCK.finditer(document.read_text())
    return [Block(match["language"], match["code"]) for match in found if not match["skipped"]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a few photographs."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    data = Path(skimage.data.__file__).parent
    for name, file in PHOTOS.items():
        shutil.copy(data / file, tmp_path / "photos" / f"{name}{Path(file).suffix}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a server with nothing in it."""
    with embeddb.open(tmp_path / "served", models=ModelSettings(folder=tmp_path / "models")) as database:
        server = Server(database)
        server.start()
        yield server.address
        server.stop(drain_seconds=1)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "document", [each for each in DOCUMENTS if blocks_of(each)], ids=lambda path: path.name
)
def test_its_code_runs(document: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDB_SERVER", address)
    monkeypatch.setenv("EMBEDDB_CONFIG", "config.toml")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks_of(document):
        if block.language == "python":
            if file := re.match(r"# (\w+\.py)$", block.code, re.M):
                Path(file[1]).write_text(block.code)
            exec(compile(block.code.replace(ADDRESS, address), document.name, "exec"), names)
            continue
        for line in block.code.splitlines():
            if line.startswith("$ "):
                run(line[2:].replace(ADDRESS, address))


def run(command: str) -> None:
    """Run a line of a shell; `embeddb` in this process, for its start takes longer than most lines."""
    name, *arguments = shlex.split(command)
    if name == "embeddb":
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
            code = main(arguments)
        assert code == 0, f"{command}\n{errors.getvalue()}"
        return
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_the_weights_that_the_readme_fetches_are_published() -> None:
    found = re.search(r'"architecture": "(.+?)", "pretrained": "(.+?)"', (ROOT / "README.md").read_text())
    assert found is not None
    assert found.groups() in open_clip.list_pretrained()
