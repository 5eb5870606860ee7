"""embeddb put: folders, what is skipped, what fails alone, and what it says meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embeddb.query import Image
from embeddb_client import Collection
from tests.cli.conftest import OnTerminal, Run
from tests.conftest import PHOTOS

MakeCollection = Callable[..., Collection]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs and a text in a folder and one below it, and a file of another kind."""
    folder = tmp_path / "photos"
    (folder / "pets").mkdir(parents=True)
    shutil.copy(PHOTOS / "chelsea.png", folder / "pets" / "cat.png")
    shutil.copy(PHOTOS / "coffee.png", folder / "cup.PNG")
    (folder / "note.txt").write_text("ein Café", encoding="utf-8")
    (folder / "table.csv").write_text("1,2")
    return folder


def test_a_folder_is_walked_through(run: Run, make_collection: MakeCollection, folder: Path) -> None:
    photos = make_collection("starter")
    ran = run("put", folder, "-c", photos.name, "--label", "--prefix", "mine/")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("3 items: 3 created, in ")
    items = {item.id: item for item in photos.items()}
    assert sorted(items) == ["mine/cup.PNG", "mine/note.txt", "mine/pets/cat.png"]
    assert items["mine/pets/cat.png"].metadata == {"label": "pets"}
    assert photos.get("mine/note.txt", with_payload=True).payload.text == "ein Café"


def test_a_load_that_was_cut_off_runs_again(run: Run, make_collection: MakeCollection, folder: Path) -> None:
    photos = make_collection("starter")
    photos.put("cup.PNG", Image(folder / "cup.PNG"))
    first = run("put", folder, "-c", photos.name, "--json").json
    assert (first["created"], first["unchanged"]) == (2, 1)
    (folder / "note.txt").write_text("another text")
    second = run("put", folder, "-c", photos.name, "--json").json
    assert (second["created"], second["replaced"], second["unchanged"]) == (0, 1, 2)
    assert run("put", folder, "-c", photos.name).out.startswith("3 items: 3 unchanged, in ")


def test_files_fail_alone(run: Run, make_collection: MakeCollection, folder: Path) -> None:
    photos = make_collection("starter")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "empty.png").touch()
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "blank.txt").write_text(" \n")
    deep = folder.joinpath(*["d" * 100] * 5)
    deep.mkdir(parents=True)
    shutil.copy(PHOTOS / "coffee.png", deep)
    ran = run("put", folder, "-c", photos.name)
    assert ran.code == 1
    assert "8 items: 3 created, 5 failed, in " in ran.out
    lines = ran.err.splitlines()
    assert len(lines) == 5
    for name, says in {
        "broken.jpg": "image: 8 bytes given",
        "empty.png": "the file is empty",
        "latin.txt": "cannot be read: 'utf-8' codec",
        "blank.txt": "must be a string of UTF-8 that is not blank",
        "d" * 100: "item.id",
    }.items():
        assert any(line.startswith(name) and says in line for line in lines), name
    again = run("put", folder, "-c", photos.name, "--json")
    assert again.code == 1
    assert '"unchanged": 3' in again.out
    assert '"field": "item.id"' in again.out
    assert photos.info().items == 3


def test_what_files_are_called_is_spelled_out(
    run: Run, make_collection: MakeCollection, tmp_path: Path
) -> None:
    """A name may move the terminal's cursor, and need not be UTF-8."""
    for name in (b"a\x1b[2J\nb.png", b"caf\xe9.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"no image")
    photos = make_collection("starter")
    ran = run("put", tmp_path, "-c", photos.name)
    first, second = sorted(ran.err.splitlines())
    assert first.startswith("a\\x1b[2J\\nb.png: image: ")
    assert second.startswith("caf\\udce9.png: item.id: ")
    ran = run("put", tmp_path, "-c", photos.name, "--json")
    assert {each["id"] for each in json.loads(ran.out)["errors"]} == {"a\x1b[2J\nb.png", "caf\udce9.png"}


def test_which_files_are_taken(run: Run, make_collection: MakeCollection, folder: Path) -> None:
    texts = make_collection("starter")
    assert run("put", folder, "--glob", "*.txt", "-c", texts.name, "--json").json["created"] == 1
    nothing = run("put", folder, "--glob", "*.csv", "-c", texts.name)
    assert (nothing.code, nothing.out) == (1, "")
    assert "has no images, .txt files or rows that match --glob '*.csv'" in nothing.err
    # A file that is named is taken, whatever it is called.
    named = folder / "cat"
    shutil.copy(PHOTOS / "chelsea.png", named)
    assert run("put", named, folder / "cup.PNG", "-c", texts.name, "--json").json["created"] == 2


def test_two_files_with_one_id_are_refused(run: Run, make_collection: MakeCollection, folder: Path) -> None:
    photos = make_collection("starter")
    shutil.copytree(folder, folder.parent / "others")
    ran = run("put", folder, folder.parent / "others", "-c", photos.name)
    assert (ran.code, ran.out) == (1, "")
    assert "PATHS: the id: 'cup.PNG' given, occurs twice" in ran.err
    assert photos.info().items == 0


def test_a_list_has_paths_and_metadata(run: Run, make_collection: MakeCollection, folder: Path) -> None:
    photos = make_collection("starter")
    listed = folder / "list.csv"
    listed.write_text(
        "id,path,price,sold,name,empty\n"
        'sku-1,pets/cat.png,20,true,"a cat, sleeping",\n'
        ",cup.PNG,2.5,false,007,\n"
        "gone,missing.png,1,true,x,\n",
        encoding="utf-8-sig",
    )
    ran = run("put", listed, "-c", photos.name)
    assert ran.code == 1
    assert "3 items: 2 created, 1 failed" in ran.out
    assert ran.err.startswith("gone: image: ")
    found = {item.id: item.metadata for item in photos.items()}
    assert found == {
        "sku-1": {"price": 20, "sold": True, "name": "a cat, sleeping"},
        "cup.PNG": {"price": 2.5, "sold": False, "name": "007"},
    }


def test_a_list_of_texts(run: Run, make_collection: MakeCollection, tmp_path: Path) -> None:
    texts = make_collection("starter")
    (tmp_path / "list.csv").write_text("id,text,n\na,a cat,1\nb,a rocket,2\n")
    assert run("put", tmp_path / "list.csv", "-c", texts.name, "--label", "--json").json["created"] == 2
    assert texts.search("a pet that purrs")[0].metadata == {"n": 1}


def test_vectors_in_an_array(run: Run, make_collection: MakeCollection, tmp_path: Path) -> None:
    vectors = make_collection("tiny", "given")
    np.save(tmp_path / "v.npy", np.eye(4, dtype=np.float32))
    put = ["put", tmp_path / "v.npy", "-m", "given", "-c", vectors.name]
    assert run(*put, "--prefix", "row-", "--json").json["created"] == 4
    assert vectors.get("row-2", with_features=True).features["given"].tolist() == [0, 0, 1, 0]
    (tmp_path / "ids.csv").write_text("id,price\na,1\nb,2\nc,\nd,4\n")
    assert run(*put, "--ids", tmp_path / "ids.csv", "--json").json["created"] == 4
    assert vectors.search([0, 1, 0, 0], model="given", filter="price == 2")[0].id == "b"
    assert vectors.get("c").metadata == {}
    assert (
        "must have 64, the dimension of model 'tiny'"
        in run("put", tmp_path / "v.npy", "-c", vectors.name).err
    )


def test_vectors_in_a_list(run: Run, make_collection: MakeCollection, tmp_path: Path) -> None:
    vectors = make_collection("given")
    rows = {"id": ["a", "b"], "vector": [[1.0, 0, 0, 0], [0, 1.0, 0, 0]], "tags": [["x"], None], "n": [1, 2]}
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    (tmp_path / "list.csv").write_text('id,vector,n\nc,"[0, 0, 1, 0]",3\nd,"[0, 1]",4\n')
    ran = run("put", tmp_path / "list.parquet", tmp_path / "list.csv", "-c", vectors.name)
    assert ran.code == 1
    assert "4 items: 3 created, 1 failed" in ran.out
    assert (
        ran.err
        == "d: item.features[given]: '2 dimensions' given, must have 4, the dimension of model 'given'\n"
    )
    assert vectors.search([1, 0, 0, 0], k=1)[0].metadata == {"tags": ["x"], "n": 1}
    assert [item.id for item in vectors.items()] == ["a", "b", "c"]


def test_columns_of_types_that_json_has_not(
    run: Run, make_collection: MakeCollection, tmp_path: Path
) -> None:
    when = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
    rows = {
        "id": ["a", "b"],
        "vector": [[1.0, 0, 0, 0], [0, 1.0, 0, 0]],
        "when": pa.array([when, None], pa.timestamp("ns", "UTC")),
        "day": [when.date(), None],
        "price": [Decimal("19.90"), None],
        "made": [{"at": when.date(), "of": ["x"]}, None],
        "kind": pa.array(["cup", "cat"]).dictionary_encode(),
        "nothing": pa.nulls(2),
    }
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    vectors = make_collection("given")
    ran = run("put", tmp_path / "list.parquet", "-c", vectors.name)
    assert (ran.code, ran.err) == (0, "")
    assert vectors.get("a").metadata == {
        "when": "2026-11-22T06:30:00+00:00",
        "day": "2026-11-22",
        "price": 19.9,
        "made": {"at": "2026-11-22", "of": ["x"]},
        "kind": "cup",
    }
    assert vectors.get("b").metadata == {"kind": "cat"}


def test_cells_that_json_has_not_are_text_and_may_be_long(
    run: Run, make_collection: MakeCollection, tmp_path: Path
) -> None:
    texts = make_collection("starter")
    long = "a long text " * 20_000
    (tmp_path / "list.csv").write_text(f"id,text,size,tree\na,{long},NaN,{'[' * 100_000}\n")
    assert run("put", tmp_path / "list.csv", "-c", texts.name, "--json").json["created"] == 1
    assert texts.get("a").metadata == {"size": "NaN", "tree": "[" * 100_000}


def test_arrays_that_are_none(run: Run, make_collection: MakeCollection, tmp_path: Path) -> None:
    name = make_collection("given").name
    empty = make_collection().name
    array, flat, ids = tmp_path / "v.npy", tmp_path / "flat.npy", tmp_path / "ids.csv"
    np.save(array, np.eye(4))
    np.save(flat, np.zeros(4))
    (tmp_path / "text.npy").write_text("no array")
    ids.write_text("id\na\n")
    pq.write_table(pa.table({"id": ["a"], "text": [None]}), tmp_path / "null.parquet")
    for arguments, says in [
        (["text.npy"], "cannot be read as an array"),
        (["flat.npy"], "'float64 of shape (4,)' given, must be numbers of shape (n, d)"),
        (["v.npy", "--ids", ids], "'id in 1 rows' given, must have a column id, and 4 rows"),
        (["v.npy", "flat.npy", "--ids", ids], "must go with one .npy file alone"),
        (["null.parquet"], "row 1: text: None given, must be a text"),
    ]:
        ran = run(
            "put",
            *(tmp_path / each if str(each).endswith(("npy", "quet")) else each for each in arguments),
            "-c",
            name,
        )
        assert (ran.code, ran.out) == (1, ""), says
        assert says in ran.err
    assert "has no model whose features vectors are" in run("put", array, "-c", empty).err


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (
            "name\na",
            "list.csv: 'name' given, must have a column path, or columns id and text, or id and vector",
        ),
        ("text\na", "must have a column path, or columns id and text, or id and vector"),
        ("path,text\na,b", "must have a column path, or columns id and text, or id and vector"),
        ("", "must have a column path"),
        ("path,n\na.png,1,2", "list.csv, line 2: ['a.png', '1', ['2']] given, must have 2 cells"),
        ("path,n\na.png", "list.csv, line 2: ['a.png', None] given, must have 2 cells"),
        ("id,text\na,one\na,two", "PATHS: the id: 'a' given, occurs twice"),
        ('path\n"a', "cannot be read as a list: unexpected end of data"),
        ("id,text\na,one\n,two", "row 2: id: '' given, must be an id"),
        ("path\n", "has no images, .txt files or rows"),
    ],
)
def test_a_list_that_is_none(run: Run, written: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(written)
    ran = run("put", tmp_path / "list.csv")
    assert (ran.code, ran.out) == (1, "")
    assert says in ran.err


def test_a_model_is_said_for_vectors_alone(run: Run, make_collection: MakeCollection, folder: Path) -> None:
    collection = make_collection("starter")
    refused = run("put", folder, "-m", "starter", "-c", collection.name)
    assert refused.code == 2
    assert "whose features vectors are" in refused.err
    assert collection.info().items == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_a_load_that_is_interrupted_tells_how_far_it_came(
    run: Run, make_collection: MakeCollection, tmp_path: Path, as_json: bool
) -> None:
    texts = make_collection("starter")
    rows = [f"{n},sentence number {n}" for n in range(5000)]
    (tmp_path / "list.csv").write_text("\n".join(["id,text", *rows]))

    def interrupt() -> None:
        while texts.info().items < 128:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    ran = run("put", tmp_path / "list.csv", "-c", texts.name, *(["--json"] if as_json else []))
    waiting.join()
    assert ran.code == 130
    assert ran.err == "stopped; run it again to go on: what is stored already costs nothing\n"
    if as_json:
        told = json.loads(ran.out)
        created, items = told["created"], told["items"]
    else:
        created, items = int(ran.out.split()[0].replace(",", "")), 5000
        assert f"{created:,} of 5,000 items: {created:,} created, in " in ran.out
    assert 64 <= created <= texts.info().items < items == 5000


def test_a_terminal_sees_the_progress(
    on_terminal: OnTerminal, make_collection: MakeCollection, folder: Path
) -> None:
    photos = make_collection("tiny")
    code, shown = on_terminal("put", folder, "--glob", "*.[pP]*", "-c", photos.name)
    assert code == 0, shown
    assert "2 items: 2 created, in " in shown
    assert "2/2" in shown
    assert "items/s" in shown


def test_the_parts_of_pictures_become_items(
    run: Run, make_collection: MakeCollection, folder: Path, tmp_path: Path
) -> None:
    photos = make_collection("tiny")
    rows = ["id,path,part,parent"]
    rows += ["cat,photos/pets/cat.png,,", 'face,photos/pets/cat.png,"[120, 20, 300, 200]",cat']
    rows += ['outside,photos/pets/cat.png,"[0, 0, 9999, 10]",cat', "no-box,photos/pets/cat.png,left,cat"]
    (tmp_path / "parts.csv").write_text("\n".join(rows))
    ran = run("put", tmp_path / "parts.csv", "-c", photos.name, "--crop", "part", "--json")
    assert ran.code == 1
    told = json.loads(ran.out)
    assert told["created"] == 2
    assert {each["id"]: each["field"] for each in told["errors"]} == {"outside": "box", "no-box": "box"}
    face = photos.get("face", with_payload=True)
    assert face.metadata == {"part": [120, 20, 300, 200], "parent": "cat"}
    assert isinstance(face.payload, Image)
    assert face.payload == Image(folder / "pets" / "cat.png").crop((120, 20, 300, 200))
    cat = f"@{folder / 'pets' / 'cat.png'}"
    hits = run("search", f"{cat}[120,20,300,200]", "-c", photos.name, "--json").json
    assert (hits[0]["id"], hits[0]["score"]) == ("face", pytest.approx(1, abs=1e-4))
    assert run("search", cat, "-c", photos.name, "--json").json[0]["id"] == "cat"
    refused = run("put", folder, "-c", photos.name, "--crop", "part")
    assert "--crop: 'part' given, must be a column of a list with boxes of pictures" in refused.err
