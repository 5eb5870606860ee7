"""How many heaps the C library keeps."""

from __future__ import annotations

import ctypes

__all__ = ["limit_heaps"]

HEAPS = 2
# From glibc's <malloc.h>.
M_ARENA_MAX = -8


def limit_heaps() -> None:
    """Let all threads share `HEAPS` heaps, before they make their own; does nothing without glibc.

    glibc makes up to eight a core, one for each of the first threads. What is free in one serves no thread of
    another, so that a server of many threads comes to hold a multiple of what it needs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, HEAPS)
