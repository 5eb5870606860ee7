"""FAISS: rows and vectors -> the nearest rows. A cache of what storage holds; nothing else touches FAISS."""

from embeddb.index.space_index import SpaceIndex

__all__ = ["SpaceIndex"]
