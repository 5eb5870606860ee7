"""Additions that are coded beside the lists: what comes of them is what FAISS's own additions give."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embeddb.index.coder import Coder
from embeddb.index.grid import Grid

DIMENSION = 16
FAST_SCAN = "IVF2,PQ8x4fs"
# Of its blocks: 32 codes of 4 bytes.
BLOCK_SIZE = 128

Additions = list[tuple[int, int]]
Floats = npt.NDArray[np.float32]
few = st.integers(1, 70) | st.sampled_from([32, 64, BLOCK_SIZE, 2 * BLOCK_SIZE])


def trained(factory: str) -> faiss.Index:
    """An index of two lists: of vectors whose numbers are about -10, and about 10."""
    index = faiss.index_factory(DIMENSION, factory, faiss.METRIC_L2)
    rng = np.random.default_rng(0)
    index.train((rng.normal(size=(1000, DIMENSION)) + rng.choice([-10, 10], (1000, 1))).astype("f4"))
    return index


def contents(index: faiss.Index) -> list[dict[int, bytes]]:
    """The code of each id, by list."""
    ivf: Any = faiss.extract_index_ivf(index)
    lists: Any = faiss.downcast_InvertedLists(ivf.invlists)
    found: list[dict[int, bytes]] = []
    for number in range(lists.nlist):
        size = lists.list_size(number)
        ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
        if hasattr(lists, "packer"):
            length = -(-size // lists.n_per_block) * lists.block_size
            blocks = faiss.rev_swig_ptr(lists.get_codes(number), length).reshape(-1, lists.block_size)
            codes = [lists.packer.unpack_1(blocks, place) for place in range(size)]
        else:
            codes = list(
                faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size).reshape(size, -1)
            )
        found.append({int(row): code.tobytes() for row, code in zip(ids, codes, strict=True)})
    return found


def as_coded(index: faiss.Index, vectors: Floats) -> Floats:
    """What is left of vectors once they are coded as a coder does it, for which FAISS has the same codes."""
    ivf: Any = faiss.downcast_index(index)
    if not isinstance(ivf, faiss.IndexIVFPQFastScan) or ivf.by_residual or not Grid.fits(ivf.pq):
        return vectors
    centroids = faiss.vector_to_array(ivf.pq.centroids).reshape(ivf.pq.M, 16, 2)
    return centroids[np.arange(ivf.pq.M), Grid(ivf.pq).codes(vectors)].reshape(vectors.shape)


def check(factory: str, additions: Additions) -> None:
    """Add so many vectors near the first and the second centre, again and again."""
    rng = np.random.default_rng(1)
    index, expected = trained(factory), trained(factory)
    if factory == FAST_SCAN:
        # Of two centroids as near as float32 can tell, the same one.
        of_expected: Any = faiss.downcast_index(expected)
        of_expected.pq.sync_transposed_centroids()
    coder, added = Coder(index), 0
    for first, second in additions:
        centres = rng.permutation(np.repeat([-10, 10], [first, second]))
        vectors = (rng.normal(size=(len(centres), DIMENSION)) + centres[:, None]).astype("f4")
        ids = np.arange(added, added + len(vectors))
        coder.code(vectors, ids)
        assert index.ntotal == added
        coder.merge()
        expected.add_with_ids(as_coded(expected, vectors), ids)
        added += len(vectors)
        assert index.ntotal == added
        for each in index, expected:
            faiss.extract_index_ivf(each).nprobe = 2
        # One more than there are: nothing is found that lies behind the last code.
        distances, places = index.search(vectors[:1], added + 1)
        assert np.array_equal(distances, expected.search(vectors[:1], added + 1)[0])
        assert np.array_equal(np.sort(places[0, :added]), np.arange(added))
    same = contents(index) == contents(expected)
    assert same, additions


@given(additions=st.lists(st.tuples(few, few), min_size=1, max_size=6))
@example(additions=[(BLOCK_SIZE, BLOCK_SIZE), (5, 70), (2 * BLOCK_SIZE - 5, 1), (33, 57), (1, 1)])
@example(additions=[(3 * BLOCK_SIZE, 1), (1, BLOCK_SIZE - 1), (BLOCK_SIZE - 1, 300), (40, 84)])
@settings(max_examples=20, deadline=None)
def test_blocks_of_codes_are_those_of_faiss_itself(additions: Additions) -> None:
    """Also behind lists of full blocks, where FAISS 1.15 writes past the end of memory."""
    check(FAST_SCAN, additions)


@pytest.mark.parametrize(
    "factory",
    ["IVF2,SQ8", "IVF2,Flat", "PCAR8,IVF2,PQ4x4fs", "IVF2,PQ4x4fs", "IVF2,PQ8x4fsr"],
)
def test_other_codes_are_too(factory: str) -> None:
    check(factory, [(200, 1), (64, 127), (1, 90)])


@pytest.mark.parametrize("factory", ["HNSW16", "IVF2,RQ4x4fs_Nrq2x4", "IVF2,RaBitQfs", "IVF2,PQ8x4fs_64"])
def test_what_faiss_cannot_copy_or_merge_does_not_fit(factory: str) -> None:
    assert not Coder.fits(faiss.index_factory(DIMENSION, factory, faiss.METRIC_L2))
