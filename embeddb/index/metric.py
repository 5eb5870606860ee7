"""How near two vectors are. Every metric is a similarity: larger is nearer.

The scan ranks by inner products plus a bias of each vector. For cosine (of unit vectors) and for the inner
product the bias is none. For L2 it is -|x|^2 / 2, since |q - x|^2 = |q|^2 - 2 (<q, x> - |x|^2 / 2).
"""

from __future__ import annotations

import math

import faiss
import numpy as np
import numpy.typing as npt
from faiss import swig_ptr

from embeddb.errors import InvalidArgumentError
from embeddb.query import Metric

__all__ = ["check_finite_scores", "prepared", "ranking"]

Floats = npt.NDArray[np.float32]


SHORTEST, LONGEST = 1e-10, 1e15
MAX_NUMBER = 1e15
"""The squares of numbers up to this, summed over any dimension, stay within float32."""


def check_finite_scores(field: str, vectors: Floats, metric: Metric) -> None:
    """Refuse vectors that are so long that scores would be infinite; the cosine takes any.

    Raises:
        InvalidArgumentError: a number is beyond `MAX_NUMBER`.
    """
    if metric is Metric.COSINE:
        return
    largest = float(np.abs(vectors).max(initial=0.0))
    if not largest <= MAX_NUMBER:
        allowed = f"must be within ±{MAX_NUMBER:g}, so that scores by {metric} are finite"
        raise InvalidArgumentError(field, largest, allowed)


def prepared(metric: Metric, vectors: Floats) -> Floats:
    """The vectors as the index keeps them: of unit length for cosine, as they are otherwise.

    A zero vector stays one, and its cosine with everything is 0.

    Args:
        vectors: (n, d) float32, finite, of any length that float32 can hold.

    Returns:
        (n, d) float32, a new array, contiguous.
    """
    if metric is not Metric.COSINE:
        return np.array(vectors, np.float32, order="C")
    vectors = np.ascontiguousarray(vectors, np.float32)
    unit: Floats
    if len(vectors) == 1:
        # A lone query finds numpy's functions out of the processor's caches: it calls as few as can be.
        length = math.sqrt(faiss.fvec_norm_L2sqr(swig_ptr(vectors), vectors.shape[1]))
        if SHORTEST < length < LONGEST:
            unit = vectors / np.float32(length)
            return unit
    lengths = np.empty(len(vectors), np.float32)
    faiss.fvec_norms_L2(swig_ptr(lengths), swig_ptr(vectors), vectors.shape[1], len(vectors))  # type: ignore[attr-defined]
    # The squares of the largest and smallest floats leave float32's range.
    plain = (lengths > SHORTEST) & (lengths < LONGEST)
    if plain.all():
        unit = vectors / lengths[:, np.newaxis]
        return unit
    unit = np.empty(vectors.shape, np.float32)
    np.divide(vectors, lengths[:, np.newaxis], out=unit, where=plain[:, np.newaxis])
    unit[~plain] = _scaled_to_unit(vectors[~plain])
    return unit


def _scaled_to_unit(vectors: Floats) -> Floats:
    """Vectors (n, d) at unit length, brought near 1 before they are squared; a zero vector stays one."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scaled = np.zeros(vectors.shape, np.float32)
    np.divide(vectors, largest, out=scaled, where=largest > 0)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    np.divide(scaled, lengths, out=scaled, where=lengths > 0)
    return scaled


def ranking(metric: Metric, queries: Floats, found: Floats) -> Floats:
    """Scores (q, m) as what the scan ranks by: the inner product plus the bias."""
    if metric is Metric.L2:
        ranked: Floats = (np.einsum("qd,qd->q", queries, queries)[:, np.newaxis] - np.square(found)) / 2
        return ranked
    return found
