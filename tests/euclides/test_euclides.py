"""EuclidesDB's API: its own published client, unchanged, and what that client cannot ask."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from embeddb.database import Database
from embeddb.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from embeddb.query import CollectionSettings, Metric
from embeddb_client import Client
from embeddb_protos.euclides import similar_pb2, similar_pb2_grpc
from embeddb_protos.wire.errors import error_from_call
from embeddb_server import Server
from embeddb_server.services.euclides import SimilarService
from embeddb_server.services.served import Served
from tests.conftest import PHOTOS

ROOT = Path(__file__).parents[2]

# Its stubs are of 2019, and protobuf 4 refuses them.
CLIENT = ["euclides==0.2.0", "protobuf==3.20.3", "grpcio", "pillow", "typing_extensions"]

SESSION = """
import json, sys
import grpc
from PIL import Image
from euclides import Channel, EuclidesDB

host, port, photos = sys.argv[1:]
said = {}
with Channel(host, int(port)) as channel:
    db = EuclidesDB(channel)
    for number, name in ((1, "chelsea"), (2, "coffee"), (-7, "astronaut")):
        image = Image.open(f"{photos}/{name}.png").convert("RGB")
        reply = db.add_image(number, ["tiny", "starter"], image)
        said[name] = [(each.model, len(each.features)) for each in reply.vectors]
    db.refresh_index()
    cat = Image.open(f"{photos}/chelsea.png").convert("RGB")
    reply = db.find_similar_image(cat, ["starter", "tiny"], top_k=2)
    said["similar"] = [(each.model, list(each.top_k_ids), list(each.distances)) for each in reply.results]
    reply = db.find_similar_image_by_id(2, ["tiny"])
    said["by id"] = [(each.model, list(each.top_k_ids), list(each.distances)) for each in reply.results]
    said["removed"] = db.remove_image(-7).image_id
    said["removed again"] = db.remove_image(-7).image_id
    reply = db.find_similar_image_by_id(2, ["tiny"])
    said["left"] = list(reply.results[0].top_k_ids)
    for name, call in {
        "unknown id": lambda: db.find_similar_image_by_id(-7, ["tiny"]),
        "unknown model": lambda: db.find_similar_image(cat, ["nix"]),
        "shutdown": db.shutdown,
    }.items():
        try:
            call()
        except grpc.RpcError as error:
            said[name] = [error.code().name, error.details()]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def address(database: Database) -> Iterator[str]:
    """A server with EuclidesDB's API over the collection `legacy`, whose callers cannot end it."""
    database.create_collection("legacy", ["tiny", "starter"])
    server = Server(database, euclides_collection="legacy")
    server.start()
    yield server.address
    server.stop(drain_seconds=1)


@pytest.fixture
def stub(address: str) -> Iterator[similar_pb2_grpc.SimilarStub]:
    with grpc.insecure_channel(address) as channel:
        yield similar_pb2_grpc.SimilarStub(channel)


def test_the_published_client_works_unchanged(address: str, database: Database, tmp_path: Path) -> None:
    venv.create(tmp_path)
    python = tmp_path / "bin" / "python"
    # This environment's pip: to install one there takes longer than the rest.
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    install += ["--no-deps", "--constraint", tmp_path / "pins.txt"]
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "protobuf==" not in line]
    (tmp_path / "pins.txt").write_text("\n".join(pins))
    subprocess.run([*install, *CLIENT], check=True, capture_output=True, text=True)
    host, port = address.split(":")
    ran = subprocess.run(
        [python, "-c", SESSION, host, port, PHOTOS], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["chelsea"] == said["coffee"] == said["astronaut"] == [["tiny", 64], ["starter", 384]]
    assert [(model, ids[0]) for model, ids, _ in said["similar"]] == [("starter", 1), ("tiny", 1)]
    for _, ids, distances in said["similar"] + said["by id"]:
        assert len(ids) == len(distances)
        assert distances == sorted(distances)
        assert distances[0] == pytest.approx(0, abs=1e-2)
    assert sorted(said["by id"][0][1]) == [-7, 1, 2]
    assert said["removed"] == said["removed again"] == -7
    assert sorted(said["left"]) == [1, 2]
    assert said["unknown id"] == ["NOT_FOUND", "no item named '-7'"]
    assert said["unknown model"] == ["NOT_FOUND", "no model named 'nix'; there are: starter, tiny"]
    assert said["shutdown"][0] == "PERMISSION_DENIED"
    # What was put through that API is an item like any other.
    hits = database.collection("legacy").search("a pet that purrs", model="starter")
    assert [hit.id for hit in hits] == ["1", "2"]


def test_distances_are_those_of_unit_vectors(
    address: str, database: Database, stub: similar_pb2_grpc.SimilarStub
) -> None:
    image = (PHOTOS / "coffee.png").read_bytes()
    for number, name in enumerate(("coffee", "chelsea", "rocket"), start=100):
        file = next(PHOTOS.glob(f"{name}.*")).read_bytes()
        stub.AddImage(similar_pb2.AddImageRequest(image_id=number, image_data=file, models=["tiny"]))
    request = similar_pb2.FindSimilarImageRequest(top_k=3, image_data=image, models=["tiny"])
    (result,) = stub.FindSimilarImage(request).results
    hits = database.collection("legacy").search(image, 3, model="tiny")
    assert list(result.top_k_ids) == [int(hit.id) for hit in hits]
    expected = [math.sqrt(max(0, 2 - 2 * hit.score)) for hit in hits]
    assert list(result.distances) == pytest.approx(expected, abs=1e-6)


def test_metadata_is_kept_and_other_ids_are_left_out(
    database: Database, stub: similar_pb2_grpc.SimilarStub
) -> None:
    image = (PHOTOS / "coffee.png").read_bytes()
    added = similar_pb2.AddImageRequest(
        image_id=7, image_data=image, image_metadata=b"\xffbytes", models=["tiny"]
    )
    (vectors,) = stub.AddImage(added).vectors
    collection = database.collection("legacy")
    item = collection.get("7", with_features=True)
    assert item.metadata == {"image_metadata": "/2J5dGVz"}
    assert list(vectors.features) == pytest.approx(item.features["tiny"].tolist())
    for other in ("a name", "007", str(2**31)):
        collection.put(other, image)
    request = similar_pb2.FindSimilarImageByIdRequest(top_k=10, image_id=7, models=["tiny"])
    ids = list(stub.FindSimilarImageById(request).results[0].top_k_ids)
    assert 7 in ids
    assert len(ids) == len(collection.search(image, 10, model="tiny")) - 3


@pytest.mark.parametrize(
    ("metric", "nearest", "distances"),
    [
        (Metric.COSINE, [1, 2], [0, math.sqrt(2 - math.sqrt(2))]),
        (Metric.L2, [1, 2], [0, 1]),
        (Metric.INNER_PRODUCT, [1, 2], [-1, -1]),
    ],
)
def test_smaller_is_nearer_for_every_metric(
    metric: Metric, nearest: list[int], distances: list[float], database: Database
) -> None:
    collection = database.create_collection(f"legacy-{metric}", ["given"], CollectionSettings(metric=metric))
    for item_id, vector in {"1": [1, 0, 0, 0], "2": [1, 1, 0, 0]}.items():
        collection.put(item_id, features={"given": vector})
    service = SimilarService(Served(database), collection.name)
    request = similar_pb2.FindSimilarImageByIdRequest(top_k=2, image_id=1, models=["given"])
    (result,) = service.FindSimilarImageById(request, None).results
    assert sorted(result.top_k_ids) == nearest
    assert list(result.distances) == pytest.approx(distances, abs=1e-6)


@pytest.mark.parametrize(
    ("method", "request_", "error", "says"),
    [
        (
            "FindSimilarImageById",
            {"top_k": 0, "image_id": 7, "models": ["tiny"]},
            InvalidArgumentError,
            "k: 0",
        ),
        ("FindSimilarImageById", {"top_k": 1, "image_id": 7}, InvalidArgumentError, "models: 'none' given"),
        (
            "FindSimilarImage",
            {"top_k": 1, "image_data": b"x", "models": ["tiny"]},
            InvalidArgumentError,
            "image",
        ),
        ("AddImage", {"image_id": 9, "image_data": b"x", "models": ["tiny"]}, InvalidArgumentError, "image"),
        ("AddImage", {"image_id": 9, "image_data": b"x", "models": ["nix"]}, NotFoundError, "'nix'"),
        ("Shutdown", {"shutdown_type": 0}, PermissionDeniedError, "euclides_shutdown"),
    ],
)
def test_what_is_wrong_is_said(
    method: str,
    request_: dict[str, object],
    error: type[Exception],
    says: str,
    stub: similar_pb2_grpc.SimilarStub,
    database: Database,
) -> None:
    call = getattr(stub, method)
    with pytest.raises(grpc.RpcError) as caught:
        call(getattr(similar_pb2, f"{method}Request")(**request_))
    told = error_from_call(caught.value)
    assert isinstance(told, error)
    assert says in str(told)
    assert isinstance(database.collection("legacy").get_many(["9"])[0], NotFoundError)


def test_a_model_that_embeds_no_images_is_refused(database: Database) -> None:
    collection = database.create_collection("legacy-mixed", ["tiny", "given"])
    service = SimilarService(Served(database), collection.name)
    image = (PHOTOS / "coffee.png").read_bytes()
    request = similar_pb2.AddImageRequest(image_id=1, image_data=image, models=["tiny", "given"])
    with pytest.raises(InvalidArgumentError, match="models: 'given' given, must be models that embed images"):
        service.AddImage(request, None)
    assert collection.info().items == 0


def test_without_the_setting_nobody_serves_it(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = similar_pb2_grpc.SimilarStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.RemoveImage(similar_pb2.RemoveImageRequest(image_id=1))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_where_it_may_a_caller_ends_the_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "embeddb_server.main", "--data", tmp_path, "--port", "0"]
    flags = ["--euclides-collection", "default", "--euclides-shutdown", "--log-level", "error"]
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(" ready on ")[1].partition(",")[0]
        with grpc.insecure_channel(address) as channel:
            stub = similar_pb2_grpc.SimilarStub(channel)
            assert not stub.Shutdown(similar_pb2.ShutdownRequest(shutdown_type=1)).shutdown
            with Client(address) as ours:
                assert ours.stats().collections[0].name == "default"
            assert stub.Shutdown(similar_pb2.ShutdownRequest(shutdown_type=0)).shutdown
        assert process.wait(60) == 0
