"""FAISS: rows and vectors -> the nearest rows. A cache of what storage holds; nothing else touches FAISS."""

from embeddb.index.blas import prefer_products
from embeddb.index.gpu import Gpu, find_gpu
from embeddb.index.kmeans import Centres
from embeddb.index.metric import check_finite_scores
from embeddb.index.policy import IndexPolicy, check_factory
from embeddb.index.snapshot import SnapshotFile, snapshot_damage
from embeddb.index.space_index import SpaceIndex

__all__ = [
    "Centres",
    "Gpu",
    "IndexPolicy",
    "SnapshotFile",
    "SpaceIndex",
    "check_factory",
    "check_finite_scores",
    "find_gpu",
    "prefer_products",
    "snapshot_damage",
]
