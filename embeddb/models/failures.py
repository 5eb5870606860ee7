"""What goes wrong when a network is loaded or run, told in one line: torch tells it in many."""

from __future__ import annotations

__all__ = ["in_a_line"]


def in_a_line(error: BaseException) -> str:
    """What an error says, without what was called on the way there."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # TorchScript's begin with that something failed, and end with what.
    return lines[-1] if "TorchScript" in lines[0] else lines[0]
