"""The machine that is measured on, and what processes take of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
IDLE_SHARE = 0.05
# Longer than a space waits for a load to be over before it builds its first index.
IDLE_SECONDS = 2.0


def describe() -> dict[str, str | float]:
    """What figures have to be read with: processor, cores, memory, kernel, and the load at this moment."""
    processor = next(
        (line.split(":")[1].strip() for line in _lines(PROC / "cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    flags = next((line.split() for line in _lines(PROC / "cpuinfo") if line.startswith("flags")), [])
    memory = next(int(line.split()[1]) for line in _lines(PROC / "meminfo") if line.startswith("MemTotal"))
    return {
        "processor": processor,
        "extensions": ", ".join(f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(memory / 2**20, 1),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 2),
    }


def memory_mb(pid: int) -> float:
    """The anonymous memory of a process and its children: what cannot be dropped and read again."""
    kb = 0
    for each in _tree(pid):
        kb += sum(int(line.split()[1]) for line in _lines(PROC / f"{each}/status") if "RssAnon" in line)
    return kb / 1024


def disk_mb(folder: Path) -> float:
    """What a folder takes on the disk; holes in files take nothing."""
    return sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file()) * 512 / 2**20


def settled_memory_mb(pid: int) -> float:
    """The same once it is idle: what the first answers do not need may be read after them."""
    wait_until_idle(pid)
    return memory_mb(pid)


def wait_until_idle(pid: int) -> float:
    """Wait until a process and its children have nothing to do for `IDLE_SECONDS`; when these began."""
    while True:
        began, used = time.perf_counter(), _cpu_seconds(pid)
        time.sleep(IDLE_SECONDS)
        if _cpu_seconds(pid) - used < IDLE_SHARE * IDLE_SECONDS:
            return began


def _cpu_seconds(pid: int) -> float:
    ticks = 0
    for each in _tree(pid):
        # The name in parentheses may hold spaces; user and system time are 12 and 13 places after it.
        fields = (PROC / f"{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in (PROC / f"{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
