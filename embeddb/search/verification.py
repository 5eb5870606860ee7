"""Labelled vectors -> the thresholds from which on two of them are the same.

False-accept and false-reject rates as in ISO/IEC 19795-1, "Biometric performance testing and reporting".
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from embeddb.errors import FailedPreconditionError
from embeddb.questions import Calibration

__all__ = ["calibrate"]

Doubles = npt.NDArray[np.float64]

BLOCK = 512


def calibrate(vectors: Doubles, labels: Sequence[Hashable], false_accept_rate: float) -> Calibration:
    """Compare all pairs, and set the thresholds.

    Args:
        vectors: (n, d) of unit length.
        labels: n of them.

    Raises:
        FailedPreconditionError: no two vectors have the same label, or no two have different ones.
    """
    same, different = _pairs(vectors.astype(np.float32), labels)
    if not len(same) or not len(different):
        raise FailedPreconditionError(
            f"a calibration needs pairs of the same and of different things, and {len(labels):,} labelled "
            f"items give {len(same):,} and {len(different):,}"
        )
    thresholds = np.unique(np.concatenate([same, different]))
    rejected = np.searchsorted(same, thresholds) / len(same)
    accepted = 1 - np.searchsorted(different, thresholds) / len(different)
    equal = int(np.abs(rejected - accepted).argmin())
    threshold = _accepting(different, false_accept_rate)
    return Calibration(
        items=len(labels),
        same_pairs=len(same),
        different_pairs=len(different),
        equal_error_threshold=float(thresholds[equal]),
        equal_error_rate=float(rejected[equal] + accepted[equal]) / 2,
        threshold=threshold,
        false_accept_rate=float((different >= np.float32(threshold)).mean()),
        false_reject_rate=float((same < np.float32(threshold)).mean()),
    )


def _accepting(different: npt.NDArray[np.float32], rate: float) -> float:
    """The lowest threshold that at most that share of the similarities, ascending, reaches."""
    # The small surplus undoes the rounding of a product such as 0.29 * 100.
    allowed = int(rate * len(different) + 1e-9)
    if allowed >= len(different):
        return float(different[0])
    return float(np.nextafter(different[-1 - allowed], np.float32(np.inf)))


def _pairs(
    vectors: npt.NDArray[np.float32], labels: Sequence[Hashable]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The similarities of all pairs of equal and of different labels, each ascending."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    classes = np.array([numbers[label] for label in labels])
    same, different = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        similarities = np.clip(vectors[block] @ vectors.T, -1.0, 1.0)
        later = np.arange(len(vectors)) > np.arange(start, start + len(similarities))[:, np.newaxis]
        alike = classes[block, np.newaxis] == classes
        same.append(similarities[later & alike])
        different.append(similarities[later & ~alike])
    return np.sort(np.concatenate(same)), np.sort(np.concatenate(different))
