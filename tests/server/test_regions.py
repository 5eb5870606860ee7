"""Regions of images: crops as operands and as payloads, and what a model sees in them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import embeddb
from embeddb.errors import InvalidArgumentError
from embeddb.models import ModelSettings
from embeddb.query import Image, Precision, PutItem, RunOptions
from embeddb_client import Client, Collection
from embeddb_protos.v1 import common_pb2, expressions_pb2
from embeddb_protos.wire.expressions import expression_from
from embeddb_protos.wire.items import content_from
from tests.conftest import PHOTOS

CHELSEA = PHOTOS / "chelsea.png"
FACE = (120, 20, 300, 200)


def pixels(image: Image) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(image.read())) as opened:
        return np.asarray(opened)


def test_a_crop_is_the_part_inside_the_box() -> None:
    with PIL.Image.open(CHELSEA) as photo:
        whole = np.asarray(photo)
    assert np.array_equal(pixels(Image(CHELSEA).crop(FACE)), whole[20:200, 120:300])
    height, width = whole.shape[:2]
    assert np.array_equal(pixels(Image(whole).crop([0, 0, width, height])), whole)
    twice = Image(CHELSEA).crop(FACE).crop((10, 10, 20, 30))
    assert np.array_equal(pixels(twice), whole[30:50, 130:140])


def test_a_box_is_about_the_upright_image(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # To be turned a quarter clockwise.
    lying = np.zeros((20, 40, 3), np.uint8)
    lying[:, :10] = [255, 0, 0]
    PIL.Image.fromarray(lying).save(tmp_path / "lying.png", exif=exif)
    crop = Image(tmp_path / "lying.png").crop((0, 0, 20, 10))
    assert np.array_equal(pixels(crop), np.full((10, 20, 3), [255, 0, 0], np.uint8))
    with PIL.Image.open(io.BytesIO(crop.read())) as opened:
        assert 0x0112 not in opened.getexif(), "it is not turned again"


@pytest.mark.parametrize(
    "box", [(0, 0, 500, 10), (-1, 0, 5, 5), (5, 5, 5, 9), (9, 0, 5, 5), (0, 0, 5), (0.5, 0, 5, 5), ()]
)
def test_a_box_outside_the_image_is_refused(box: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^box: .* inside 451 x 300$"):
        Image(CHELSEA).crop(box)
    with pytest.raises(InvalidArgumentError, match="image: 4 bytes given, cannot be decoded"):
        Image(b"nope").crop(box)


def test_detections_are_items_of_their_own_that_name_their_parent(
    client: Client, make_collection: Callable[..., Collection]
) -> None:
    photos = make_collection("tiny")
    photos.put("cat", CHELSEA)
    photos.put("cat/face", Image(CHELSEA).crop(FACE), {"parent": "cat", "box": list(FACE)})
    photos.put("coffee", PHOTOS / "coffee.png")
    hit = photos.search(Image(CHELSEA).crop(FACE), k=1, with_payload=True)[0]
    assert (hit.id, hit.score) == ("cat/face", pytest.approx(1, abs=1e-5))
    assert isinstance(hit.item.payload, Image)
    assert pixels(hit.item.payload).shape == (180, 180, 3)
    parts = photos.search(Image(CHELSEA), filter='parent == "cat"')
    assert [part.id for part in parts] == ["cat/face"]
    assert photos.get(str(parts[0].metadata["parent"])).id == "cat"
    with PIL.Image.open(CHELSEA) as photo:
        cut = photo.crop(FACE)
    stored = photos.get("cat/face", with_features=True).features["tiny"]
    assert np.allclose(stored, client.embed("tiny", cut).features, atol=1e-5)


def test_a_box_is_cut_out_by_who_embeds_and_stores_the_image(
    database: embeddb.Database, client: Client, make_collection: Callable[..., Collection]
) -> None:
    remote = make_collection("tiny")
    cut = Image(CHELSEA).crop(FACE)
    for collection in (remote, database.collection(remote.name)):
        where = type(collection).__module__
        collection.put(where, Image(CHELSEA, FACE))
        item = collection.get(where, with_payload=True, with_features=True)
        assert isinstance(item.payload, Image)
        assert item.payload.box is None
        assert np.array_equal(pixels(item.payload), pixels(cut))
        assert np.allclose(item.features["tiny"], client.embed("tiny", cut).features, atol=1e-5)
        assert collection.compare(Image(CHELSEA, FACE), cut) == pytest.approx(1, abs=1e-5)
        assert collection.compare(Image(CHELSEA, FACE), Image(CHELSEA)) < 0.9999
        assert collection.put(where, Image(CHELSEA, FACE)) == "unchanged"
    for embedder in (client, database):
        boxed = embedder.embed("tiny", Image(CHELSEA, FACE)).features
        assert np.allclose(boxed, embedder.embed("tiny", cut).features, atol=1e-5)


def test_a_box_outside_its_image_fails_alone(
    database: embeddb.Database, make_collection: Callable[..., Collection]
) -> None:
    remote = make_collection("tiny")
    outside = Image(CHELSEA, (0, 0, 452, 10))
    for collection in (remote, database.collection(remote.name)):
        good, bad = collection.put_many([PutItem("good", CHELSEA), PutItem("bad", outside)])
        assert good.error is None
        with pytest.raises(InvalidArgumentError, match=r"^box: .*inside 451 x 300$"):
            raise bad.error or AssertionError("it was stored")
        with pytest.raises(InvalidArgumentError, match=r"^box: .*inside 451 x 300$"):
            collection.search(outside)
        assert [item.id for item in collection.items()] == ["good"]


def test_a_picture_over_the_operators_limit_is_not_decoded_for_its_box(tmp_path: Path) -> None:
    with embeddb.open(tmp_path, models=ModelSettings(max_image_pixels=1000)) as database:
        database.register_model("net", {"loader": "timm", "architecture": "test_vit", "seed": 0})
        collection = database.create_collection("c", ["net"])
        for use in (lambda image: collection.put("a", image), collection.search):
            with pytest.raises(InvalidArgumentError, match="must be at most 1,000 pixels"):
                use(Image(CHELSEA, (0, 0, 10, 10)))


def test_a_box_means_an_image() -> None:
    box = common_pb2.Box(right=1, bottom=1)
    for malformed in (
        common_pb2.Content(text="a", box=box),
        common_pb2.Content(box=box),
        common_pb2.Content(image=b"a", box=common_pb2.Box()),
    ):
        with pytest.raises(InvalidArgumentError, match=r"^box: "):
            content_from(malformed)
    with pytest.raises(InvalidArgumentError, match=r"^box: .*must be absent, since item is no image"):
        expression_from(expressions_pb2.Expression(terms=[{"item": "a", "box": box}]))


@pytest.mark.parametrize(("kept", "expected"), [(0, 0), (2, 2), (1000, 7)])
def test_how_many_predictions_are_kept_is_the_operators_choice(
    tmp_path: Path, kept: int, expected: int
) -> None:
    labels = [f"class {n}" for n in range(7)]
    spec = {"loader": "timm", "architecture": "test_vit", "seed": 0, "labels": labels}
    with embeddb.open(tmp_path, models=ModelSettings(predictions=kept)) as database:
        database.register_model("net", spec, RunOptions(precision=Precision.FLOAT32))
        collection = database.create_collection("c", ["net"])
        collection.put("cat", CHELSEA)
        seen = collection.get("cat", with_predictions=True).predictions.get("net", ())
    assert len(seen) == expected
    scores = [each.score for each in seen]
    assert scores == sorted(scores, reverse=True)
    if expected == len(labels):
        assert sum(scores) == pytest.approx(1, abs=1e-5)
