"""A database of given vectors is made and answers without torch, which takes seconds and much memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import embeddb
from embeddb import CollectionSettings, PutItem

COUNT, DIMENSION = 2000, 8
SCRIPT = """
import sys
import numpy as np
import embeddb
from embeddb import Effort, PutItem, Search
from embeddb.models import gpu_memory

with embeddb.open(sys.argv[1]) as db:
    db.register_model("more", {"loader": "vectors", "dimension": 8})
    db.create_collection("another", ["more"]).put("a", features={"more": np.ones(8, np.float32)})
    exact, graph = db.collection("exact"), db.collection("lists")
    query = np.ones(8, np.float32)
    print(len(exact.search(query)), len(graph.search(query)))
    print(len(exact.search_many(Search(tuple(np.eye(8, dtype=np.float32)), 3))))
    print(len(graph.search(query, effort=Effort.EXACT)), len(graph.search(query, filter="even == true")))
    print(len(graph.search_many(Search(tuple(np.eye(8, dtype=np.float32)), 3))))
    print(db.collection("lists").space_stats()[0].index.partition(",")[0], gpu_memory(), db.stats().version)
    graph.put_many([PutItem("new", features={"given": query})])
    graph.delete_many(["1"])
    print(graph.search(query)[0].id, {"torch", "timm", "open_clip", "pyarrow", "sklearn"} & set(sys.modules))
"""


def test_open_search_put_and_delete(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((COUNT, DIMENSION)).astype(np.float32)
    items = [
        PutItem(str(n), features={"given": each}, metadata={"even": n % 2 == 0})
        for n, each in enumerate(vectors)
    ]
    with embeddb.open(tmp_path) as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        for name, index in (("exact", "Flat"), ("lists", "IVF8,SQ8")):
            collection = database.create_collection(name, ["given"], CollectionSettings(index=index))
            collection.put_many(items)
            collection.settle()
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    version = embeddb.__version__
    assert done.stdout.splitlines() == ["10 10", "8", "10 10", "8", f"IVF8 {{}} {version}", "new set()"]
