"""The choices of an index and a filter on the command line."""

from __future__ import annotations

from embeddb_client import Client
from tests.cli.conftest import Run


def test_a_collection_with_an_index_of_its_own(run: Run, client: Client) -> None:
    options = ["--metric", "l2", "--index", "IVF8,Flat", "--recall", "0.9"]
    added = run("collections", "add", "by-cli", "-m", "starter", *options, "--json").json
    assert {key: added["settings"][key] for key in ("metric", "index", "recall")} == {
        "metric": "l2",
        "index": "IVF8,Flat",
        "recall": 0.9,
    }
    collection = client.collection("by-cli")
    collection.put("near", "a red car", {"price": 9})
    collection.put("dear", "a red car", {"price": 90})
    found = run(
        "search", '"a red car"', "--filter", "price < 20", "--effort", "exact", "-c", "by-cli", "--json"
    )
    assert [hit["id"] for hit in found.json] == ["near"]
    assert run("search", '"a red car"', "--effort", "much", "-c", "by-cli").code == 2
    refused = run("collections", "add", "nix", "-m", "starter", "--index", "nonsense")
    assert (refused.code, "settings.index" in refused.err) == (1, True)
