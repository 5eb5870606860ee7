"""What the GPUs of this machine have left."""

from __future__ import annotations

import sys
from dataclasses import dataclass

__all__ = ["GpuMemory", "gpu_memory"]


@dataclass(frozen=True)
class GpuMemory:
    """A GPU's memory in bytes: all of it, and what is taken, by this process or another."""

    total_bytes: int
    used_bytes: int


def gpu_memory() -> dict[str, GpuMemory]:
    """The memory of each GPU by its name, such as "cuda:0"; none while nothing of this process runs on one.

    To ask for it would make a context on the device, which takes some hundred megabytes itself.
    """
    # What has not imported torch yet runs nothing by it, and need not wait for that; while another thread
    # imports it, its parts are not there.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return {}
    memory = {}
    for index in range(cuda.device_count()):
        free, total = cuda.mem_get_info(index)
        memory[f"cuda:{index}"] = GpuMemory(total, total - free)
    return memory
