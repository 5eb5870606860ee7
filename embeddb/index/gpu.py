"""The GPU that indexes are placed on: whether there is one, whether it has room, and FAISS indexes there.

The processor keeps whatever an index needs: its vectors, and a FAISS index whole. What is on the GPU can be
lost at any time, and the processor serves from then on.
"""

from __future__ import annotations

import ctypes
import logging
import time
from typing import TYPE_CHECKING

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError, ResourceExhaustedError

if TYPE_CHECKING:
    import torch

__all__ = ["FAULTS", "MOST_SELECTED", "Gpu", "find_gpu"]

AUTO, CPU = "auto", "cpu"
MOST_SELECTED = 2048
"""The most candidates, and the most lists, of one search by FAISS on a GPU (its GPU_MAX_SELECTION_K)."""
# Of all its memory, for the batches of models, which take what they need when they run.
KEPT_FREE_SHARE = 0.2
# FAISS would copy what is derived from these as if it were one of them, and its vectors lie otherwise.
COPIED = (faiss.IndexIVFFlat, faiss.IndexIVFPQ, faiss.IndexIVFScalarQuantizer)
# What FAISS takes at once for its intermediate results; it asks the driver for what is beyond.
SCRATCH_BYTES = 128 << 20
PINNED_BYTES = 1 << 20
# Lists on a GPU have room for what is added to them.
LIST_ROOM = 1.25
ID_BYTES = 8
REST_SECONDS = 600
# What the driver says of itself (CUresult).
DRIVER = "libcuda.so.1"
SUCCESS, NO_DEVICE = 0, 100

FAULTS = (RuntimeError, FailedPreconditionError, ResourceExhaustedError)
"""What FAISS and torch raise where a GPU has no room or fails, and what this module raises."""

log = logging.getLogger(__name__)


class Gpu:
    """One GPU, and what indexes want of it.

    Args:
        number: as CUDA counts them.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._rests_until = 0.0

    def __str__(self) -> str:
        return f"cuda:{self._number}"

    def rest(self) -> None:
        """Have nothing put there for ten minutes, for it has just failed.

        It may have lacked memory that models give back. What is broken for good fails again when something is
        put there, which nobody waits for, and not once for every search.
        """
        self._rests_until = time.monotonic() + REST_SECONDS

    @property
    def rest_left(self) -> float:
        """For how many seconds nothing is to be put there."""
        return max(0.0, self._rests_until - time.monotonic())

    def check_room(self, size: int) -> None:
        """Let `size` bytes be taken.

        Raises:
            FailedPreconditionError: torch does not see the GPU.
            ResourceExhaustedError: too little would be left for the models.
        """
        import torch

        if not torch.cuda.is_available() or torch.cuda.device_count() <= self._number:
            raise FailedPreconditionError(f"torch does not see {self}")
        # torch keeps what it has freed; FAISS cannot use that, and the driver does not count it as free.
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(self._number)
        left = free - int(KEPT_FREE_SHARE * total)
        if size > left:
            raise ResourceExhaustedError(
                f"{self} has {max(left, 0) >> 20:,} MiB for indexes, and {size >> 20:,} are wanted"
            )

    def room(self, count: int, size: int) -> torch.Tensor:
        """Memory for `count` rows of `size` bytes, (count, size) uint8.

        Raises:
            FailedPreconditionError: torch does not see the GPU.
            ResourceExhaustedError, RuntimeError: there is not so much.
        """
        import torch

        self.check_room(count * size)
        return torch.empty(count, size, dtype=torch.uint8, device=str(self))

    def tensor(self, array: npt.NDArray[np.uint8]) -> torch.Tensor:
        """An array's copy there.

        Raises:
            RuntimeError: it failed.
        """
        import torch

        return torch.from_numpy(array).to(str(self))

    def copy(self, index: faiss.Index) -> faiss.Index:
        """A copy of a trained index of the family IVF, for one thread at a time.

        Raises:
            FailedPreconditionError: FAISS has no index of this kind for it, or torch does not see it.
            ResourceExhaustedError: there is no room for it.
            RuntimeError: it failed.
        """
        ivf = faiss.try_extract_index_ivf(index)
        if ivf is None or type(faiss.downcast_index(ivf)) not in COPIED:
            raise FailedPreconditionError("FAISS has no such index for GPUs")
        vectors = ivf.ntotal * (ivf.code_size + ID_BYTES)
        self.check_room(int(LIST_ROOM * vectors) + 4 * ivf.nlist * ivf.d + SCRATCH_BYTES)
        # Of its own, for searches that share their resources must not run at the same time.
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(SCRATCH_BYTES)
        resources.setPinnedMemory(PINNED_BYTES)
        return faiss.index_cpu_to_gpu(resources, self._number, index)


def find_gpu(asked: str) -> Gpu | None:
    """The GPU that indexes are to be on; None for the processor.

    Args:
        asked: "auto" for the first one, if there is one; "cpu"; "cuda" or "cuda:N". Where that one is not
            there, the log says so, and the processor serves.
    """
    if asked == CPU:
        return None
    number = int(asked.partition(":")[2] or 0)
    if fault := _driver_fault():
        log.warning("indexes are on the processor: %s asked for, and %s", asked, fault)
        return None
    # FAISS is asked, for torch takes seconds to import; FAISS's builds for the processor see none.
    count = faiss.get_num_gpus()
    if number < count:
        return Gpu(number)
    level = logging.INFO if asked == AUTO else logging.WARNING
    log.log(level, "indexes are on the processor: %s asked for, and FAISS sees %d GPUs", asked, count)
    return None


def _driver_fault() -> str:
    """Why NVIDIA's driver does not start; "" where it does, where it sees no GPU, and where there is none.

    FAISS ends the process where its count of GPUs fails otherwise, as after an update of the driver until the
    machine is started anew.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return ""
    code = driver.cuInit(0)
    return "" if code in (SUCCESS, NO_DEVICE) else f"NVIDIA's driver does not start (CUDA error {code})"
