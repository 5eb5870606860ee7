"""What ranks best among many places: block by block, and in each block group by group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from embeddb.index.vectors import Allowed

__all__ = ["Shortlist", "ranked"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

BLOCK_PLACES = 65_536
GROUP = 64


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The places of each query that rank best.

    Attributes:
        ranks: (q, size) float32, best first, minus infinity where no more are allowed.
        places: (q, size) int64, -1 there.
        rounding: what a rank is off by at most, relative to itself, beside what the vectors were rounded by.
    """

    ranks: Floats
    places: Places
    rounding: float


def ranked(
    products: Callable[[int, int], torch.Tensor],
    first: int,
    count: int,
    size: int,
    bias: Floats | None,
    allowed: Allowed | None,
) -> Shortlist:
    """The best `size` of `count` places from `first` on, at most as many as there are.

    Args:
        products: gives the inner products (b, q) of places from one to another, not included, with the
            queries. They count from `first`.
        bias: (n,) float32, what is added to them, by place; None for nothing.
        allowed: which places may be found; None for all.
    """
    ranks, places = [], []
    rounding = 0.0
    for start in range(0, count, BLOCK_PLACES):
        end = min(start + BLOCK_PLACES, count)
        found = products(start, end)
        rounding = torch.finfo(found.dtype).eps
        if bias is not None:
            found = found.float() + torch.from_numpy(bias[first + start : first + end, np.newaxis])
        if allowed is not None:
            barred = torch.from_numpy(~allowed.mask(first + start, first + end))
            found.masked_fill_(barred[:, None], -torch.inf)
        rank, place = _top(found, min(size, end - start))
        ranks.append(rank)
        places.append(place + (first + start))
    rank, chosen = torch.cat(ranks, dim=1).topk(size, dim=1)
    place = torch.cat(places, dim=1).gather(1, chosen).masked_fill(rank.isneginf(), -1)
    return Shortlist(rank.numpy(), place.numpy(), rounding)


def _top(found: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `size` largest of each column of (n, q): values (q, size) float32, best first, and where they are.

    The groups with the largest maxima hold them, and are few; to sort these alone is several times faster.
    """
    n, q = found.shape
    groups = n // GROUP
    if groups < 2 * size:
        values, where = found.T.float().topk(size, dim=1)
        return values, where
    grouped = found[: groups * GROUP].view(groups, GROUP, q)
    chosen = grouped.amax(1).T.contiguous().topk(size, dim=1).indices
    # Behind the members of the chosen groups come those that make no full group.
    inside = grouped.permute(2, 0, 1)[torch.arange(q)[:, None], chosen].flatten(1)
    values, where = torch.cat([inside, found[groups * GROUP :].T], dim=1).float().topk(size, dim=1)
    member = chosen.gather(1, (where // GROUP).clamp(max=size - 1)) * GROUP + where % GROUP
    return values, torch.where(where < size * GROUP, member, where + (groups - size) * GROUP)
