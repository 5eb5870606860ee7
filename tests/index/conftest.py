"""What tests of an index watch."""

from __future__ import annotations

import pytest

from embeddb.index.approximate import Approximate


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The factory strings of the indexes that are built from here on."""
    builds: list[str] = []
    train = Approximate.train.__func__  # type: ignore[attr-defined]

    def noted(cls: type[Approximate], factory: str, moment: object) -> Approximate:
        builds.append(factory)
        return train(cls, factory, moment)  # type: ignore[no-any-return]

    monkeypatch.setattr(Approximate, "train", classmethod(noted))
    return builds
