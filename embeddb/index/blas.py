"""From how many numbers on FAISS compares vectors by a matrix product: a setting of the whole process."""

from __future__ import annotations

import faiss

__all__ = ["prefer_products"]

# FAISS's own 128,000 is 250 vectors of 512 dimensions. To find the lists of 64 of them takes twice as long
# without a product.
PRODUCT_NUMBERS = 4096


def prefer_products() -> None:
    """Have FAISS compare vectors by a matrix product from 4,096 numbers on, be it for us or for others.

    For a program that has FAISS to itself. Who uses FAISS beside embeddb may not want it: by a product the
    distances of vectors that are nearly the same are less exact.
    """
    faiss.cvar.distance_compute_blas_threshold = PRODUCT_NUMBERS
