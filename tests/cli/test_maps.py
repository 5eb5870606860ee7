"""embeddb map: the page, the files of TensorBoard's projector, and what is printed."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from PIL import Image as PilImage

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.query import PutItem, View
from embeddb.questions import Map
from embeddb_client import Collection
from embeddb_client.map_page import write_map
from embeddb_client.projector import write_projector
from tests.cli.conftest import Run

SCRIPT = "</script><script>alert(1)</script>"
COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def field(name: str, number: int, kind: str, label: str = "optional", of: str = "") -> Any:
    return descriptor_pb2.FieldDescriptorProto(
        name=name,
        number=number,
        label=f"LABEL_{label.upper()}",
        type=f"TYPE_{kind.upper()}",
        type_name=of or None,
    )


def projector_config(text: str) -> Any:
    """Read the text by the fields of tensorboard/plugins/projector/projector_config.proto."""
    sprite = descriptor_pb2.DescriptorProto(
        name="SpriteMetadata",
        field=[
            field("image_path", 1, "string"),
            field("single_image_dim", 2, "uint32", "repeated"),
        ],
    )
    embedding = descriptor_pb2.DescriptorProto(
        name="EmbeddingInfo",
        field=[
            field("tensor_name", 1, "string"),
            field("metadata_path", 2, "string"),
            field("bookmarks_path", 3, "string"),
            field("tensor_shape", 4, "uint32", "repeated"),
            field("sprite", 5, "message", of=".projector.SpriteMetadata"),
            field("tensor_path", 6, "string"),
        ],
    )
    config = descriptor_pb2.DescriptorProto(
        name="ProjectorConfig",
        field=[field("embeddings", 2, "message", "repeated", ".projector.EmbeddingInfo")],
    )
    file = descriptor_pb2.FileDescriptorProto(
        name="projector.proto",
        package="projector",
        syntax="proto3",
        message_type=[sprite, embedding, config],
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("projector.ProjectorConfig"))
    return text_format.Parse(text, made())


@pytest.fixture
def pictures(make_collection: Callable[..., Collection]) -> Collection:
    """Nine pictures of three colours and a text without a picture, with vectors of their own."""
    collection = make_collection("tiny", "given")
    rng = np.random.default_rng(1)
    for n in range(9):
        name = list(COLOURS)[n % 3]
        pixels = np.full((30, 40, 3), COLOURS[name], np.uint8)
        vector = np.eye(4)[n % 3] + 0.1 * rng.normal(size=4)
        collection.put(f"{name}-{n}", pixels, {"colour": name, "n": n}, features={"given": vector})
    collection.put("nothing", metadata={"note": "tab\there"}, features={"given": [0, 0, 0, 1]})
    return collection


def page_data(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data: dict[str, Any] = json.loads(found)
    return data


def test_the_page_holds_all_that_it_shows(pictures: Collection, tmp_path: Path) -> None:
    layout = pictures.ask(Map(model="given"))
    labels = {item_id: n % 2 for n, item_id in enumerate(layout.ids)}
    write_map(tmp_path / "map.html", "A map", pictures, layout, color="colour", labels=labels)
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "http" not in page
    data = page_data(page)
    assert data["ids"] == list(layout.ids)
    assert data["color"] == "colour"
    assert set(data["fields"]) == {"colour", "n", "cluster", "note"}
    assert data["fields"]["cluster"] == list(labels.values())
    assert data["pictured"] == [item_id != "nothing" for item_id in layout.ids]
    points = np.array(data["points"])
    assert points.min() >= 0
    assert points.max() <= 1
    apart = layout.points - layout.points[0]
    scale = np.abs(points[1:, 0] - points[0, 0]).sum() / np.abs(apart[1:, 0]).sum()
    np.testing.assert_allclose(points - points[0], apart * [scale, -scale], atol=1e-4)
    (sheet,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    picture = PilImage.open(io.BytesIO(base64.b64decode(sheet)))
    side = data["side"]
    for place, item_id in enumerate(data["ids"]):
        centre = (
            place % data["columns"] * side + side // 2,
            place // data["columns"] * side + side // 2,
        )
        expected = COLOURS.get(item_id.partition("-")[0], (255, 255, 255))
        np.testing.assert_allclose(picture.getpixel(centre), expected, atol=12)


def test_nothing_that_is_stored_becomes_markup(
    make_collection: Callable[..., Collection], tmp_path: Path
) -> None:
    collection = make_collection("starter")
    collection.put_many(PutItem(f"{SCRIPT}{n}", SCRIPT, {SCRIPT: SCRIPT}) for n in range(3))
    write_map(tmp_path / "map.html", SCRIPT, collection, collection.ask(Map()))
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in page
    assert page.count("<script") == 2
    assert page_data(page)["words"] == [SCRIPT] * 3


def test_a_key_that_nobody_has_is_refused(pictures: Collection, tmp_path: Path) -> None:
    layout = pictures.ask(Map(model="given"))
    with pytest.raises(InvalidArgumentError, match=r"color: 'size' given, must be .*: colour, n, note"):
        write_map(tmp_path / "map.html", "A map", pictures, layout, color="size")
    with pytest.raises(InvalidArgumentError, match="cannot be written"):
        write_map(tmp_path / "nowhere" / "map.html", "A map", pictures, layout)


def test_the_projector_reads_its_files_back(pictures: Collection, tmp_path: Path) -> None:
    ids = [item.id for item in pictures.items()]
    labels = dict.fromkeys(ids, 7)
    assert write_projector(tmp_path / "tb", pictures, [*ids, "gone"], "given", labels=labels) == len(ids)
    config = projector_config((tmp_path / "tb" / "projector_config.pbtxt").read_text())
    (embedding,) = config.embeddings
    assert embedding.tensor_name == f"{pictures.name} given"
    vectors = np.loadtxt(tmp_path / "tb" / embedding.tensor_path, delimiter="\t", dtype=np.float32)
    assert vectors.shape == tuple(embedding.tensor_shape) == (len(ids), 4)
    stored = {item.id: item.features["given"] for item in pictures.items(view=View(features=True))}
    with (tmp_path / "tb" / embedding.metadata_path).open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row["id"] for row in rows] == ids
    assert {row["cluster"] for row in rows} == {"7"}
    assert rows[ids.index("nothing")]["note"] == "tab here"
    for row, vector in zip(rows, vectors, strict=True):
        np.testing.assert_array_equal(vector, stored[row["id"]])
    width, height = embedding.sprite.single_image_dim
    sprite = PilImage.open(tmp_path / "tb" / embedding.sprite.image_path)
    columns = sprite.width // width
    assert sprite.width == sprite.height <= 8192
    for place, row in enumerate(rows):
        centre = (place % columns * width + width // 2, place // columns * height + height // 2)
        assert sprite.getpixel(centre) == COLOURS.get(row["colour"], (255, 255, 255))


def test_metadata_hides_neither_ids_nor_clusters(
    make_collection: Callable[..., Collection], tmp_path: Path
) -> None:
    collection = make_collection("given")
    collection.put("own", features={"given": [1, 2, 3, 4]}, metadata={"id": "theirs", "cluster": "old"})
    write_projector(tmp_path / "tb", collection, ["own"], "given", labels={"own": 7})
    lines = (tmp_path / "tb" / "metadata.tsv").read_text().splitlines()
    assert [sorted(line.split("\t")) for line in lines] == [
        ["cluster", "id", "metadata.cluster", "metadata.id"],
        ["7", "old", "own", "theirs"],
    ]
    write_projector(tmp_path / "tb", collection, ["own"], "given")
    assert (tmp_path / "tb" / "metadata.tsv").read_text() == "id\tmetadata.id\tcluster\nown\ttheirs\told\n"


def test_items_without_features_of_the_model_are_left_out(pictures: Collection, tmp_path: Path) -> None:
    ids = [item.id for item in pictures.items()]
    assert write_projector(tmp_path / "tb", pictures, ids, "tiny") == len(ids) - 1
    with pytest.raises(FailedPreconditionError, match="no item has features of model 'tiny'"):
        write_projector(tmp_path / "tb2", pictures, ["nothing"], "tiny")
    assert not (tmp_path / "tb2").exists()


def test_one_column_has_no_line_of_names(make_collection: Callable[..., Collection], tmp_path: Path) -> None:
    collection = make_collection("given")
    collection.put("a b", features={"given": [1, 2, 3, 4]})
    write_projector(tmp_path / "tb", collection, ["a b"], "given")
    assert (tmp_path / "tb" / "metadata.tsv").read_text() == "a b\n"
    assert not (tmp_path / "tb" / "sprite.png").exists()
    assert "sprite" not in (tmp_path / "tb" / "projector_config.pbtxt").read_text()


def test_the_command_prints_and_writes(
    run: Run, pictures: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ["-c", pictures.name, "-m", "given"]
    found = run("map", *here, "--json").json
    assert found["items"] == len(found["points"]) == 10
    assert 0 < found["explained"] <= 1
    printed = run("map", *here, "--filter", 'colour == "red"')
    assert "red-0" in printed.out
    assert "blue" not in printed.out
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page, folder = tmp_path / "map.html", tmp_path / "tb"
    # Narrower than the paths, which are one line each all the same.
    monkeypatch.setenv("COLUMNS", "20")
    umap = ["--by", "umap", "--neighbours", 4, "--min-distance", 0.3, "--clusters", 3]
    ran = run("map", *here, *umap, "--html", page, "--tensorboard", folder, "--open")
    assert ran.code == 0, ran.err
    assert f"wrote {page}" in ran.err
    assert f"tensorboard --logdir {folder}\n" in ran.err
    assert opened == [page.as_uri()]
    assert page_data(page.read_text())["color"] == "cluster"
    assert len((folder / "vectors.tsv").read_text().splitlines()) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--open"], "needs --html"),
        (["--color", "kind"], "needs --html"),
        (["--clusters", "3"], "needs --html or --tensorboard"),
        (["--neighbours", "5"], "needs --by umap"),
        (["--min-distance", "0.5"], "needs --by umap"),
    ],
)
def test_options_that_would_do_nothing_are_refused(run: Run, options: list[str], message: str) -> None:
    ran = run("map", *options)
    assert (ran.code, message in ran.err) == (2, True)
