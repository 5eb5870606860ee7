"""Similarities to classes, or the labels of neighbours -> predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embeddb.query import Prediction
from embeddb.search.fields import Label

__all__ = ["probabilities", "vote"]

Doubles = npt.NDArray[np.float64]


def probabilities(similarities: npt.NDArray[np.floating], scale: float, bias: float | None) -> Doubles:
    """The probabilities that an image-text model gives to classes.

    A softmax over all of them (Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", ICML 2021), or, of a model that has a bias, a sigmoid of each on its own (Zhai et al.,
    "Sigmoid Loss for Language Image Pre-Training", ICCV 2023).

    Args:
        similarities: (n, classes) cosines.

    Returns:
        (n, classes).
    """
    logits = scale * similarities.astype(np.float64)
    if bias is not None:
        each: Doubles = 1 / (1 + np.exp(-(logits + bias)))
        return each
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Doubles = powers / powers.sum(axis=1, keepdims=True)
    return shares


def vote(
    labels: Sequence[Label], similarities: Sequence[float], temperature: float | None
) -> list[Prediction]:
    """What the labels of the nearest neighbours say.

    Args:
        labels: of the neighbours.
        similarities: of the neighbours, nearest first.
        temperature: None where each neighbour has one vote; otherwise exp(similarity / temperature) of them
            (Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR
            2018).

    Returns:
        Each label that occurs with its share of the votes, most of them first; of equals, the nearer one.
    """
    if not labels:
        return []
    exact = np.asarray(similarities, np.float64)
    # Relative to the nearest, so that nothing leaves float64's range.
    votes = np.ones(len(exact)) if temperature is None else np.exp((exact - exact[0]) / temperature)
    shares: dict[str, float] = {}
    for label, share in zip(labels, (votes / votes.sum()).tolist(), strict=True):
        name = label if isinstance(label, str) else repr(label)
        shares[name] = shares.get(name, 0.0) + share
    return sorted((Prediction(*each) for each in shares.items()), key=lambda p: -p.score)
