"""A store of its own for each test, with one space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embeddb.storage import CollectionStore
from tests.storage.items import DIMENSION


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CollectionStore]:
    store = CollectionStore(tmp_path / "store", "test", create=True)
    store.create_space("m", DIMENSION, "fingerprint")
    yield store
    store.close()
