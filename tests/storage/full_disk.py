"""What `test_full_disk` runs where the current folder is a disk of a few megabytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import embeddb
from embeddb.collection import Collection
from embeddb.errors import ResourceExhaustedError
from embeddb.query import PutItem

DIMENSION = 256


def batch(number: int) -> list[PutItem]:
    rng = np.random.default_rng(number)
    return [
        PutItem(f"{number}-{n}", "text " * 100, {"batch": number}, {"given": rng.normal(size=DIMENSION)})
        for n in range(40)
    ]


def fill(collection: Collection, first: int) -> int:
    """Put batches until one is refused; returns its number."""
    number = first
    while True:
        try:
            collection.put_many(batch(number))
        except ResourceExhaustedError as error:
            if "collections/default is full; nothing was written" not in str(error):
                raise
            return number
        number += 1


def check_holds(collection: Collection, batches: int) -> None:
    """The batches before that number are there and found, and nothing else."""
    expected = {item.id for number in range(batches) for item in batch(number)}
    assert {item.id for item in collection.items()} == expected
    last = batch(batches - 1)[-1]
    assert collection.search(last.features["given"], k=1)[0].id == last.id


def main() -> None:
    ballast, crumbs = Path("ballast"), Path("crumbs")
    ballast.write_bytes(bytes(3 << 20))
    crumbs.write_bytes(bytes(1 << 20))
    with embeddb.open("data") as database:
        database.register_model("given", {"loader": "vectors", "dimension": DIMENSION})
        collection = database.collection()
        collection.add_model("given")
        refused = fill(collection, 0)
        assert refused > 5, refused
        check_holds(collection, refused)
        assert fill(collection, refused) == refused, "written though the disk was full before"
        ballast.unlink()
        refused_again = fill(collection, refused)
        assert refused_again > refused
        check_holds(collection, refused_again)
    with embeddb.open("data") as database:
        collection = database.collection()
        check_holds(collection, refused_again)
        # A delete writes too, so it needs a little room; what it frees is then used again within the file.
        crumbs.unlink()
        collection.delete_many([item.id for number in range(refused_again - 1) for item in batch(number)])
        for number in range(refused_again // 2):
            collection.put_many(batch(number))
        assert collection.info().items == 40 * (refused_again // 2 + 1)


if __name__ == "__main__":
    main()
