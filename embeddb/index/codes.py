"""Short codes of vectors, and what ranks best by them.

bfloat16 copies are half to read of what float32 is, and what matrix units multiply several times faster. For
a few queries FAISS's scalar quantizer reads them the fastest, and for many torch's matrix product: one
memory, two readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import torch

from embeddb.index.shortlist import Shortlist, ranked
from embeddb.index.vectors import Allowed

__all__ = ["CodeMoment", "Codes"]

Floats = npt.NDArray[np.float32]

# Up to so many queries are faster one by one.
FEW_QUERIES = 3
FIRST_CAPACITY = 1024
GROWTH = 1.5


@dataclass(frozen=True, eq=False)
class CodeMoment:
    """The codes of the places from `first` on, as a search sees them.

    Attributes:
        codes: (n, d) bfloat16.
        error: the largest |x - code(x)| of them.
    """

    first: int
    codes: torch.Tensor
    error: float

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
        if bias is None and self.first == 0 and len(queries) <= FEW_QUERIES:
            return self._one_by_one(queries, size, allowed)
        return self._together(queries, size, bias, allowed)

    def _one_by_one(self, queries: Floats, size: int, allowed: Allowed | None) -> Shortlist:
        parameters = None
        if allowed is not None:
            selector = faiss.IDSelectorBitmap(allowed.bits)  # type: ignore[call-arg, arg-type]
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        search = getattr(self._quantizer, "search_numpy", self._quantizer.search)
        ranks, places = search(queries, size, params=parameters)
        ranks[places < 0] = -np.inf
        return Shortlist(ranks, places, float(np.finfo(np.float32).eps))

    def _together(
        self, queries: Floats, size: int, bias: Floats | None, allowed: Allowed | None
    ) -> Shortlist:
        asked = torch.from_numpy(queries).to(torch.bfloat16).T

        def products(start: int, end: int) -> torch.Tensor:
            # The data first: a tall matrix times a narrow one is faster than the other way round.
            return self.codes[start:end] @ asked

        return ranked(products, self.first, len(self), size, bias, allowed)

    @cached_property
    def _quantizer(self) -> faiss.IndexScalarQuantizer:
        """FAISS's index over these codes, which it reads where they are."""
        count, dimension = self.codes.shape
        index = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_bf16, faiss.METRIC_INNER_PRODUCT
        )
        memory = self.codes.view(torch.uint8).numpy()
        # FAISS has such views of memory that is not its own for the files that it maps.
        view: Any = faiss.MaybeOwnedVectorUInt8()
        view.is_owned = False
        view.view_data = view.c_ptr = faiss.swig_ptr(memory)
        view.view_size = view.c_size = memory.size
        index.codes, index.ntotal, index.is_trained = view, count, True
        return index


class Codes:
    """The codes of the vectors from one place on. One thread changes them.

    Args:
        first: the place of the first code.
        vectors: (n, d) float32 or float16, those of the places from `first` on.
    """

    def __init__(self, first: int, vectors: npt.NDArray[np.floating]) -> None:
        self.first = first
        self._count = 0
        self._error = 0.0
        shape = (max(len(vectors), FIRST_CAPACITY), vectors.shape[1])
        self._codes = torch.empty(shape, dtype=torch.bfloat16)
        for start in range(0, len(vectors), FIRST_CAPACITY):
            self.append(vectors[start : start + FIRST_CAPACITY])

    def __len__(self) -> int:
        return self._count

    def append(self, vectors: npt.NDArray[np.floating]) -> None:
        """Code the vectors (n, d) of the next places, one at least."""
        end = self._count + len(vectors)
        if end > len(self._codes):
            grown = self._codes.new_empty((max(end, int(len(self._codes) * GROWTH)), vectors.shape[1]))
            grown[: self._count] = self._codes[: self._count]
            self._codes = grown
        exact = torch.from_numpy(vectors).float()
        codes = exact.to(torch.bfloat16)
        errors = torch.linalg.vector_norm(exact - codes.float(), dim=1)
        self._error = max(self._error, float(errors.amax()))
        self._codes[self._count : end] = codes
        self._count = end

    def moment(self) -> CodeMoment:
        """The codes as they are now."""
        return CodeMoment(self.first, self._codes[: self._count], self._error)
