"""The client alone: installed into an empty environment, it brings no engine and talks to a server."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from embeddb_server import Server

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "faiss-gpu", "faiss-cpu", "lmdb", "timm", "open-clip-torch", "transformers"}
SCRIPT = """
import sys
import embeddb
from embeddb_client import Client, Image, Item, Text
try:
    embeddb.open("data")
except ImportError as error:
    print(error)
with Client(sys.argv[1]) as client:
    photos = client.create_collection("alone", ["starter"])
    photos.put("cat", Image(sys.argv[2]))
    photos.put("drink", "a cup of coffee")
    photos.put("rocket", "a rocket")
    print([hit.id for hit in photos.search(Item("cat") - Text("a cat") + Text("espresso"))])
heavy = {"torch", "faiss", "lmdb", "timm", "open_clip"} & set(sys.modules)
print("imported:", sorted(heavy))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds embeddb-client and what it depends on."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder)
    python = folder / "bin" / "python"
    parts = [str(ROOT), str(ROOT / "protos"), str(ROOT / "client")]
    options = ["--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip(python), "install", *options, *parts], check=True, capture_output=True, text=True)
    return python


def pip(python: Path) -> list[object]:
    """This environment's pip at work on another one, which takes half as long as to install it there."""
    return [sys.executable, "-m", "pip", "--python", python]


def test_it_brings_no_engine(python: Path) -> None:
    listing = [*pip(python), "list", "--format", "freeze"]
    listed = subprocess.run(listing, check=True, capture_output=True, text=True)
    installed = {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}
    assert {"embeddb", "embeddb-protos", "embeddb-client"} <= installed
    assert installed & HEAVY == set()


def test_it_queries_a_server(python: Path, server: Server, photo: Path) -> None:
    done = subprocess.run(
        [python, "-c", SCRIPT, server.address, str(photo)], capture_output=True, text=True, cwd=python.parent
    )
    assert done.returncode == 0, done.stderr
    missing, found, imported = done.stdout.splitlines()
    assert "pip install 'embeddb[engine]'" in missing
    assert found == "['drink', 'rocket']"
    assert imported == "imported: []"


def test_its_command_line_is_there(python: Path, server: Server) -> None:
    command = [python.parent / "embeddb", "stats", "--server", server.address]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "default" in done.stdout
