"""Vectors coded beside the lists that are searched, to be put behind those in a moment."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embeddb.index.grid import Grid
from embeddb.precedence import searches

__all__ = ["Coder"]

# The lists of the fast scan, which FAISS's type stubs do not know.
Blocks: Any = faiss.BlockInvertedLists  # type: ignore[attr-defined]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# So many codes are in a block of the fast scan, unless the factory string says otherwise; it has half of them
# in this order, and the other half in the upper halves of the same bytes.
BLOCK = 32
COLUMNS = np.array([0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15])


class Coder:
    """Codes vectors in an index of its own, which has the centres and codebooks of another and empty lists.

    To find the lists of vectors and to code them takes several times as long as to put them behind others,
    and no search has to wait for it. One thread calls it, and nothing else adds to the other index: behind
    merged codes of the fast scan FAISS 1.15 leaves what was in memory, with which its own additions mix.

    Args:
        index: one that `fits`; trained.
    """

    def __init__(self, index: faiss.Index) -> None:
        # Also kept because the copy goes on reading codebooks of its.
        self._index = index
        self._into: Any = faiss.downcast_index(faiss.extract_index_ivf(index))
        self._lists: Any = _lists(index)
        self._coded = faiss.clone_index(index)
        ivf: Any = faiss.downcast_index(faiss.extract_index_ivf(self._coded))
        self._ivf = ivf
        self._own: Any
        self._grid: Grid | None = None
        if isinstance(self._lists, Blocks):
            packer = ivf.get_CodePacker()
            self._own = Blocks(ivf.nlist, packer)
            packer.this.disown()
            # The nearest centroids, to the precision of float32, in three quarters of the time.
            ivf.pq.sync_transposed_centroids()
            plain = not isinstance(faiss.downcast_index(index), faiss.IndexPreTransform)
            if plain and not ivf.by_residual and Grid.fits(ivf.pq):
                self._grid = Grid(ivf.pq)
        else:
            self._own = faiss.ArrayInvertedLists(ivf.nlist, ivf.code_size)
        # Not `reset`, which would keep the memory of all that the copy holds.
        ivf.replace_invlists(self._own, True)
        self._own.this.disown()
        self._coded.ntotal = ivf.ntotal = 0
        # At most so many vectors are in one list; not counted yet.
        self._longest: float = np.inf
        self._full: list[int] = []

    @staticmethod
    def fits(index: faiss.Index) -> bool:
        """Whether an index has lists behind which FAISS puts others."""
        lists = _lists(index)
        if isinstance(lists, Blocks):
            # Of other codes of the fast scan FAISS 1.15 makes no copies, and larger blocks it merges wrongly.
            ivf: Any = faiss.downcast_index(faiss.extract_index_ivf(index))
            return isinstance(ivf, faiss.IndexIVFPQFastScan) and ivf.bbs == BLOCK
        return isinstance(lists, faiss.ArrayInvertedLists)

    def code(self, vectors: Floats, ids: Places) -> None:
        """Code vectors (n, d) with their ids (n,), which the index does not have before `merge`."""
        if self._grid is None:
            self._coded.add_with_ids(vectors, ids)
        else:
            lists = self._ivf.quantizer.assign(vectors, 1)[:, 0]
            searches.give_way()
            self._put(lists, self._grid.codes(vectors), ids)
        if isinstance(self._lists, Blocks):
            self._full = self._lists_of_full_blocks(len(vectors))

    def merge(self) -> None:
        """Put what was coded behind the lists of the index, which nobody may search meanwhile.

        List by list, for the `merge_from` of an index compares all centres of both each time.
        """
        for number in self._full:
            self._append(number)
        self._lists.merge_from(self._own, 0)
        self._into.ntotal += self._ivf.ntotal
        self._index.ntotal = self._into.ntotal
        self._coded.ntotal = self._ivf.ntotal = 0

    def _put(self, lists: Places, codes: Bytes, ids: Places) -> None:
        """Put codes (n, m), a number each, and ids (n,) into the own lists (n,) int64, which are empty."""
        order = np.argsort(lists, kind="stable")
        codes, ids = codes[order], ids[order]
        numbers, starts, counts = np.unique(lists[order], return_index=True, return_counts=True)
        lengths = -(-counts // BLOCK)
        ends = np.cumsum(lengths)
        # Each list begins with a block of its own.
        places = np.arange(len(ids)) + np.repeat(BLOCK * (ends - lengths) - starts, counts)
        blocks = _packed(codes, places, int(ends[-1]))
        each = (numbers.tolist(), starts.tolist(), counts.tolist(), (ends - lengths).tolist())
        for number, start, count, block in zip(*each, strict=True):
            self._own.add_entries(number, count, faiss.swig_ptr(ids[start:]), faiss.swig_ptr(blocks[block]))
        self._coded.ntotal = self._ivf.ntotal = len(ids)

    def _lists_of_full_blocks(self, count: int) -> list[int]:
        """Those behind which FAISS 1.15 would not only put what was coded.

        Where a list has a multiple of so many vectors as a block has bytes, `BlockInvertedLists::add_entries`
        copies as many blocks as there will be in all instead of those that are new, past the end of both.
        """
        size = self._lists.block_size
        self._longest += count
        if self._longest < size:
            return []
        lengths = [self._lists.list_size(number) for number in range(self._lists.nlist)]
        self._longest = max(lengths) + count
        return [
            n for n, length in enumerate(lengths) if length and not length % size and self._own.list_size(n)
        ]

    def _append(self, number: int) -> None:
        """Put what was coded of one list, whose blocks are full, behind it."""
        start, count = self._lists.list_size(number), self._own.list_size(number)
        self._lists.resize(number, start + count)
        for of in self._ids, self._blocks:
            of(self._lists, number)[-len(of(self._own, number)) :] = of(self._own, number)
        self._own.resize(number, 0)

    @staticmethod
    def _ids(lists: Any, number: int) -> Places:
        ids: Places = faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number))
        return ids

    @staticmethod
    def _blocks(lists: Any, number: int) -> Bytes:
        """The codes of a list, whole blocks."""
        count = -(-lists.list_size(number) // lists.n_per_block)
        blocks: Bytes = faiss.rev_swig_ptr(lists.get_codes(number), count * lists.block_size)
        return blocks


def _packed(codes: Bytes, places: Places, count: int) -> Bytes:
    """Blocks (count, m, 16) of codes, m even, as FAISS's fast scan reads them; see its `CodePackerPQ4`.

    Args:
        codes: (n, m) or (n, m - 1), numbers below 16.
        places: (n,), of each code among all that the blocks have room for; the others are 0.
    """
    m = codes.shape[1]
    blocks = np.zeros((count, m + m % 2, 16), np.uint8)
    block, column, upper = places // BLOCK, COLUMNS[places % 16], places % BLOCK >= 16
    blocks[block[~upper], :m, column[~upper]] = codes[~upper]
    blocks[block[upper], :m, column[upper]] |= codes[upper] << 4
    return blocks


def _lists(index: faiss.Index) -> Any:
    ivf = faiss.try_extract_index_ivf(index)
    return None if ivf is None or ivf.invlists is None else faiss.downcast_InvertedLists(ivf.invlists)
