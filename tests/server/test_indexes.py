"""Indexes end to end: the collection's choice, the search's effort, and what stats say."""

from __future__ import annotations

import numpy as np
import pytest

from embeddb.database import Database
from embeddb.errors import InvalidArgumentError
from embeddb.options import Effort
from embeddb.query import CollectionSettings, PutItem, Search
from embeddb_client import Client


def test_an_index_of_ones_own_finds_what_the_exact_scan_finds(client: Client, database: Database) -> None:
    settings = CollectionSettings(index="IVF8,Flat", recall=0.9)
    indexed = client.create_collection("indexed", ["given"], settings)
    assert indexed.info().settings == settings
    vectors = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    indexed.put_many(PutItem(f"{n}", features={"given": vector}) for n, vector in enumerate(vectors))
    database.collection("indexed").settle()
    (space,) = client.stats().spaces["indexed"]
    assert space.index.startswith("IVF8,Flat, effort ")
    queries = vectors[:50] + 0.1
    exact = indexed.search_many(Search(list(queries), effort=Effort.EXACT))
    for effort, least in ((Effort.SPEED, 0.8), (Effort.BALANCED, 0.8), (Effort.ACCURACY, 0.9)):
        found = indexed.search_many(Search(list(queries), effort=effort))
        shares = [
            len({hit.id for hit in a} & {hit.id for hit in b}) / 10  # type: ignore[union-attr]
            for a, b in zip(exact, found, strict=True)
        ]
        assert np.mean(shares) > least


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"index": "nonsense"}, r"settings\.index: 'nonsense' given, must be auto, Flat or a FAISS"),
        ({"index": "IVF8,PQ3"}, "fits 4 dimensions"),
        ({"recall": 1.5}, r"settings\.recall: 1\.5 given, must be from 0\.5 to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    settings: dict[str, object], complaint: str, client: Client
) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        client.create_collection("refused", ["given"], CollectionSettings(**settings))  # type: ignore[arg-type]
    assert "refused" not in {info.name for info in client.collections()}
    empty = client.create_collection("refuses-later", [], CollectionSettings(index="IVF8,PQ3"))
    try:
        with pytest.raises(InvalidArgumentError, match="fits 4 dimensions"):
            empty.add_model("given")
        assert empty.info().models == ()
    finally:
        client.drop_collection("refuses-later")


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="effort: 'much' given, must be one of balanced, speed"):
        Search([[1, 2]], effort="much")  # type: ignore[arg-type]
