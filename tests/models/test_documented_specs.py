"""The specs in docs/models.md: every loader has one, and every key in them is one of its loader's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from embeddb.errors import InvalidArgumentError
from embeddb.models import ModelSettings, Registry
from embeddb.models.loaders import LOADERS
from embeddb.query import RunOptions

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
SPECS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.S)]


def test_every_loader_has_an_example() -> None:
    assert {spec["loader"] for spec in SPECS} == {*LOADERS, "vectors"}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["loader"])
def test_only_the_key_that_is_none_is_refused(spec: dict[str, Any]) -> None:
    """Loaders refuse unknown keys before they load anything, the first one first."""
    with pytest.raises(InvalidArgumentError) as caught:
        Registry(ModelSettings()).register("a", spec | {"no-such-key": 1}, RunOptions())
    assert caught.value.details["field"] == "spec.no-such-key"
