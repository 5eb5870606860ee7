"""How often Python looks for garbage, which stops everything meanwhile."""

from __future__ import annotations

import gc

__all__ = ["collect_rarely"]

# Python looks when there are 700 objects more than at the last time, which are 50 items that are being put.
MORE_OBJECTS = 10_000


def collect_rarely() -> None:
    """Look at new objects when there are `MORE_OBJECTS` of them, and at none of those that are here now.

    Most garbage is freed without it, by the count of its references: what is left are a few cycles.
    """
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(MORE_OBJECTS, *older)
