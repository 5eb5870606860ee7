"""Short codes of vectors, and what ranks best by them.

bfloat16 copies are half to read of what float32 is, and what matrix units multiply several times faster. For
a few queries FAISS's scalar quantizer reads them the fastest, and for many torch's matrix product: one
memory, two readers. On a GPU the matrix product reads them all.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.index.faiss_search import faiss_search, selector, view
from embeddb.index.gpu import Gpu
from embeddb.index.shortlist import Shortlist
from embeddb.index.vectors import GROWTH, Allowed, roomy

if TYPE_CHECKING:
    import torch

__all__ = ["CodeMoment", "Codes"]

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

# Up to so many queries are faster one by one. So many products are made that way, too, in less time than it
# takes to import torch: some 10 ms instead of seconds.
FEW_QUERIES, FEW_PRODUCTS = 3, 1 << 19
FIRST_CAPACITY = 1024


@dataclass(frozen=True, eq=False)
class CodeMoment:
    """The codes of the places from `first` on, as a search sees them.

    Attributes:
        codes: (n, 2 d) uint8, the bytes of bfloat16.
        error: the largest |x - code(x)| of them.
        gpu: where they are; None for the processor's memory.
    """

    first: int
    codes: Bytes | torch.Tensor
    error: float
    gpu: Gpu | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def shortlist(
        self, queries: Floats, size: int, bias: Floats | None, allowed: Allowed | None
    ) -> Shortlist:
        """Find the best `size` places, at most as many as there are codes.

        Args:
            queries: (q, d) float32.
            bias: (n,) float32, what is added to the inner products, by place; None for nothing.
            allowed: which places may be found; None for all.
        """
        few = len(queries) <= FEW_QUERIES or (
            len(queries) * len(self) <= FEW_PRODUCTS and "torch" not in sys.modules
        )
        if self.gpu is None and bias is None and few:
            return self._one_by_one(queries, size, allowed)
        from embeddb.index.products import by_products  # Which imports torch.

        return by_products(self.codes, self.first, queries, size, bias, allowed)

    def _one_by_one(self, queries: Floats, size: int, allowed: Allowed | None) -> Shortlist:
        parameters = None
        if allowed is not None:
            chosen = selector(allowed.since(self.first))
            parameters = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        ranks, places = faiss_search(self._quantizer, queries, size, parameters)
        ranks[places < 0] = -np.inf
        places[places >= 0] += self.first
        return Shortlist(ranks, places, float(np.finfo(np.float32).eps), queries)

    @cached_property
    def _quantizer(self) -> faiss.IndexScalarQuantizer:
        """FAISS's index over these codes, which it reads where they are."""
        index = _quantizer(self.codes.shape[1] // 2)
        assert isinstance(self.codes, np.ndarray)
        index.codes, index.ntotal = view(self.codes), len(self.codes)
        return index


class Codes:
    """The codes of the vectors from one place on. One thread changes them.

    Args:
        first: the place of the first code.
        vectors: (n, d) float32 or float16, those of the places from `first` on.
        gpu: where to keep the codes; None for the processor's memory.

    Raises:
        FAULTS (see `embeddb.index.gpu`): of the GPU, here and in `append`.
    """

    def __init__(self, first: int, vectors: npt.NDArray[np.floating], gpu: Gpu | None = None) -> None:
        self.first = first
        self.gpu = gpu
        # Where those begin and end, in the memory for them, that are not dropped.
        self._start = self._end = 0
        self._error = 0.0
        self._coder = _quantizer(vectors.shape[1])
        self._codes = self._room(max(len(vectors), FIRST_CAPACITY))
        for start in range(0, len(vectors), FIRST_CAPACITY):
            self.append(vectors[start : start + FIRST_CAPACITY])

    def __len__(self) -> int:
        return self._end - self._start

    def append(self, vectors: npt.NDArray[np.floating]) -> None:
        """Code the vectors (n, d) of the next places, one at least."""
        needed = len(self) + len(vectors)
        if self._start + needed > len(self._codes):
            self._move(needed)
        exact = vectors.astype(np.float32, copy=False)
        codes = self._coder.sa_encode(exact)
        off = self._coder.sa_decode(codes)
        off -= exact
        self._error = max(self._error, float(np.sqrt(np.einsum("nd,nd->n", off, off).max())))
        end = self._end + len(vectors)
        self._codes[self._end : end] = codes if self.gpu is None else self.gpu.tensor(codes)
        self._end = end

    def drop_before(self, place: int) -> None:
        """Drop the codes of the places before one, of which there is a code, or all are dropped."""
        self._start += place - self.first
        self.first = place
        if self._start > len(self):
            # Most of the memory is of dropped ones.
            self._move(max(len(self), FIRST_CAPACITY))

    def moment(self) -> CodeMoment:
        """The codes as they are now."""
        return CodeMoment(self.first, self._codes[self._start : self._end], self._error, self.gpu)

    def _move(self, needed: int) -> None:
        """Have the codes at the start of memory of their own, with room for those needed and more."""
        codes = self._room(needed)
        codes[: len(self)] = self._codes[self._start : self._end]
        self._codes, self._start, self._end = codes, 0, len(self)

    def _room(self, needed: int) -> Any:
        """Memory for the codes needed and more (n, 2 d) uint8: an array, or a tensor on the GPU."""
        size = self._coder.sa_code_size()
        if self.gpu is None:
            return roomy(needed, size, np.uint8)
        # Its memory is taken, used or not.
        return self.gpu.room(int(GROWTH * needed), size)


def _quantizer(dimension: int) -> faiss.IndexScalarQuantizer:
    """An empty index of FAISS over bfloat16, which needs no training."""
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_bf16, faiss.METRIC_INNER_PRODUCT)
