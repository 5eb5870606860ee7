"""A model's identity: the same bytes give the same fingerprint on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["fingerprint", "tokenizer_facts"]

# What tells tokenizers of one vocabulary apart: case, punctuation, numbers, accents, the longest text.
PROBES = ["A photo of 2 cats, in café No. 7!", "word " * 600]


def fingerprint(state: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> str:
    """Hash a network's tensors and the facts that decide what it makes of an input.

    Args:
        state: every tensor by name; names, shapes, dtypes and values count, order does not.
        facts: architecture, preprocessing, tokenizer: plain data.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def tokenizer_facts(
    vocabulary: Mapping[str, int], tokenize: Callable[[list[str]], list[list[int]]]
) -> dict[str, Any]:
    """What decides which tokens a text becomes, as facts for `fingerprint`: the vocabulary, and a trial."""
    digest = hashlib.sha256(json.dumps(vocabulary, sort_keys=True).encode()).hexdigest()
    return {"vocabulary": digest, "probes": tokenize(PROBES)}


def _bytes(tensor: torch.Tensor) -> memoryview:
    import torch  # Which is there already where there is a tensor, and not where there is none.

    # numpy has no bfloat16 and others, but the bytes of every tensor can be seen as uint8.
    return tensor.reshape(-1).view(torch.uint8).numpy().data
