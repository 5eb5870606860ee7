"""What ranks best by short codes where many ask at once: torch's matrix products of bfloat16.

This module alone of the index (and a GPU, where there is one) imports torch, which takes seconds and hundreds
of megabytes. So the first scan that needs it imports it, and whoever is answered by an approximate index,
asks alone, or scans few codes, never does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from embeddb.index.shortlist import BLOCK_PLACES, GROUP, Shortlist, ranked
from embeddb.index.vectors import Allowed

__all__ = ["by_products"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

# On a GPU a block is limited by what its products take (256 MiB), for each is a dozen kernels to start.
GPU_BLOCK_PRODUCTS = 1 << 26


def by_products(
    codes: npt.NDArray[np.uint8] | torch.Tensor,
    first: int,
    queries: Floats,
    size: int,
    bias: Floats | None,
    allowed: Allowed | None,
) -> Shortlist:
    """The best `size` of the places from `first` on, at most as many as there are codes.

    Args:
        codes: (n, 2 d) uint8, the bytes of bfloat16; what ranks best is found where they are.
        queries: (q, d) float32.
        bias: (m,) float32, what is added to the inner products, by place; None for nothing.
        allowed: which places may be found; None for all.
    """
    coded = torch.as_tensor(codes).view(torch.bfloat16)
    asked = torch.from_numpy(queries).to(torch.bfloat16)
    there = asked.to(coded.device)

    def best_of(start: int, end: int, size: int) -> tuple[Floats, Places]:
        found = _products(coded[start:end], there)
        if bias is not None:
            added = torch.from_numpy(bias[first + start : first + end, np.newaxis])
            found = found.float() + added.to(found.device)
        if allowed is not None:
            barred = torch.from_numpy(~allowed.mask(first + start, first + end))
            found.masked_fill_(barred[:, None].to(found.device), -torch.inf)
        values, where = _largest(found, size)
        return values.cpu().numpy(), (where + start).cpu().numpy()

    rounding = torch.finfo(torch.float32 if coded.is_cuda else torch.bfloat16).eps
    block = GPU_BLOCK_PRODUCTS // len(queries) if coded.is_cuda else BLOCK_PLACES
    return Shortlist(*ranked(best_of, first, len(codes), size, block), rounding, asked.float().numpy())


def _products(coded: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The inner products (n, q) of codes (n, d) and queries (q, d)."""
    if coded.is_cuda:
        # As float32: a GPU may sum parts of a product in the type of what comes out, and the proof of
        # `exact` has no room for sums in bfloat16.
        return torch.mm(coded, asked.T, out_dtype=torch.float32)
    # The data first: a tall matrix times a narrow one is faster than the other way round.
    return coded @ asked.T


def _largest(found: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`embeddb.index.shortlist.largest` of a tensor, which takes two thirds of the time here."""
    n, q = found.shape
    groups = n // GROUP
    if groups < 2 * size:
        values, where = found.T.float().topk(size, dim=1)
        return values, where
    grouped = found[: groups * GROUP].view(groups, GROUP, q)
    chosen = grouped.amax(1).T.contiguous().topk(size, dim=1).indices
    inside = grouped.permute(2, 0, 1)[torch.arange(q, device=found.device)[:, None], chosen].flatten(1)
    values, where = torch.cat([inside, found[groups * GROUP :].T], dim=1).float().topk(size, dim=1)
    member = chosen.gather(1, (where // GROUP).clamp(max=size - 1)) * GROUP + where % GROUP
    return values, torch.where(where < size * GROUP, member, where + (groups - size) * GROUP)
