"""Collections that are searched in this process."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from embeddb.collection import Collection
from embeddb.database import Database
from embeddb.query import PutItem
from tests.search.sixty import STORED

_numbers = itertools.count()


@pytest.fixture(scope="session")
def sixty(database: Database) -> Collection:
    """Items "0" to "59", whose vectors are `STORED`."""
    collection = database.create_collection("sixty", ["given"])
    collection.put_many([PutItem(str(n), features={"given": v}) for n, v in enumerate(STORED)])
    return collection


@pytest.fixture
def make(database: Database) -> Callable[..., Collection]:
    """Makes an empty collection with the models named."""
    return lambda *models: database.create_collection(f"retrieval-{next(_numbers)}", models)
