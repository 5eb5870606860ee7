"""What every test may use: one server for the session, and a collection of its own for each test."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import skimage.data
from filelock import FileLock
from hypothesis import settings

import embeddb
from embeddb.database import Database
from embeddb.query import Precision, RunOptions
from embeddb_client import Client, Collection
from embeddb_server import Server
from tests import scenes

# Shared machines stall; a slow example is no failure, and CI should fail on the same examples again.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's script has it ignored by what it runs in the background, and processes that tests start and
    # interrupt would ignore it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PHOTOS = Path(skimage.data.__file__).parent
DIMENSION = 4

_numbers = itertools.count()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with three models: `starter`, the small random image net `tiny`, and `given` for vectors."""
    with embeddb.open(tmp_path_factory.mktemp("data")) as database:
        # In float32, so that what tests see does not hang on what is fastest on this machine just now.
        exact = RunOptions(precision=Precision.FLOAT32)
        database.register_model("starter", {"loader": "starter"}, exact)
        tiny = {"loader": "timm", "architecture": "test_vit", "seed": 0, "labels": ["cat", "dog", "cup"]}
        database.register_model("tiny", tiny, exact)
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        yield database


@pytest.fixture(scope="session")
def server(database: Database) -> Iterator[Server]:
    """That database, served on a loopback port."""
    server = Server(database)
    server.start()
    yield server
    server.stop(drain_seconds=1)


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Client]:
    """A client of that server."""
    with Client(server.address) as client:
        yield client


@pytest.fixture
def make_collection(client: Client) -> Callable[..., Collection]:
    """Makes an empty collection with the models named, over gRPC."""
    return lambda *models: client.create_collection(f"test-{next(_numbers)}", models)


@pytest.fixture
def photo() -> Path:
    """A photograph of a cat."""
    return PHOTOS / "chelsea.png"


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def scenes_folder(request: pytest.FixtureRequest) -> Path:
    """A model folder with the small CLIP of `tests/scenes.py` under "scenes".

    It is trained once, in half a minute, and kept in pytest's cache until its source changes.
    """
    source = hashlib.sha256(Path(scenes.__file__).read_bytes()).hexdigest()
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("embeddb-scenes") / source[:12]
    # Of processes that run tests side by side one trains, and the others wait for it.
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            # Renamed when it is whole, so that a test run that is interrupted leaves no half of it.
            unfinished = folder.with_name(f"{folder.name}-{os.getpid()}")
            scenes.train(unfinished / "scenes")
            unfinished.rename(folder)
    return folder
