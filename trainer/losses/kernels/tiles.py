"""Sums over a matrix of scores that is never whole: one tile of rows and keys at a time.

    s[p, b, j] = coldness <q[p, b], k[j]>

Row b of every view may have a key of its own, number `first + b`, which is left out. Plain tensor
operations, for a CPU, and for rows that are too long for the kernels of tiles_gpu.py, which has the
same functions.

Legend: P views, B rows of each, S keys, D features.
"""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import torch

from trainer.losses.kernels.chunks import require_triton
from trainer.losses.kernels.rows import Rows

# Rows and elements of a tile: with the two or three results kept beside it, it fits a core's share
# of the cache; a GPU wants larger ones.
TILES = {"cpu": (512, 1 << 17), "cuda": (2048, 1 << 21)}
NO_KEY = -(1 << 30)  # `first`, where no key is a row's own

MAX_KERNEL_DIM = 256  # D of the kernels: a sum of keys stays in registers

Side = tuple[torch.Tensor, torch.Tensor]  # shift and weight
# Of a tile of scores, its view, its rows and its keys: the weight of each key.
Weigh = Callable[[torch.Tensor, int, slice, slice], torch.Tensor]


def on_cuda(dim: int) -> ModuleType:
    """The module with these functions for tensors of a GPU: kernels, or this file for long rows."""
    if dim > MAX_KERNEL_DIM:
        return sys.modules[__name__]
    require_triton()
    from trainer.losses.kernels import tiles_gpu

    return tiles_gpu


def attend(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    coldness: float,  # 1 / temperature
    first: int = NO_KEY,
    *,
    with_mean: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logsumexp [P, B] of a row's scores, and its softmax's mean of the keys, [P, B, D] or none.

    The lowest number there is stands for the logsumexp of no key at all.
    """
    lse = torch.empty_like(q.scale)
    mean = lse.new_empty((*lse.shape, k.x.shape[-1] if with_mean else 0))
    lowest = torch.finfo(lse.dtype).min
    for view, rows in blocks(q):
        peak, total = lse.new_full((size(rows),), lowest), lse.new_zeros(size(rows))
        along = lse.new_zeros((size(rows), mean.shape[-1]))
        for s, _, keys in tiles_of(q, k, coldness, first, view, rows):
            higher = torch.maximum(peak, s.amax(dim=1))
            # Not -inf but the lowest number is below all, so that no difference is NaN.
            moved = (peak - higher).exp_()
            p = s.sub_(higher[:, None]).exp_()
            total.mul_(moved).add_(p.sum(dim=1))
            if with_mean:
                along.mul_(moved[:, None]).addmm_(p, keys)
            peak = higher
        lse[view, rows] = (peak + total.log()).clamp_min_(lowest)
        # Where there is a key at all, the highest adds 1.
        mean[view, rows] = along.div_(total.clamp_min_(1)[:, None])
    return lse, mean


def pull(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    coldness: float,
    first: int,
    asked: Side | None,  # [P, B] each
    answered: Side | None,  # [P, S] each
    out: torch.Tensor,  # [P, B, D] accumulator
) -> None:
    """Add to every row the sum of keys: exp(s - shift) weight of a row, or of a key, or both."""

    def weigh(s: torch.Tensor, view: int, rows: slice, columns: slice) -> torch.Tensor:
        found = []
        if asked is not None:
            shift, weight = (x[view, rows, None] for x in asked)
            found.append((s - shift).exp_().mul_(weight))
        if answered is not None:
            shift, weight = (x[view, columns] for x in answered)
            found.append(s.sub_(shift).exp_().mul_(weight))
        return found[0] if len(found) == 1 else found[0].add_(found[1])

    pull_by(weigh, q, k, coldness, first, out)


def pull_by(weigh: Weigh, q: Rows, k: Rows, coldness: float, first: int, out: torch.Tensor) -> None:
    """The same with any weights of scores."""
    for view, rows in blocks(q):
        for s, columns, keys in tiles_of(q, k, coldness, first, view, rows):
            out[view, rows].addmm_(weigh(s, view, rows, columns), keys)


def blocks(q: Rows) -> Iterator[tuple[int, slice]]:
    """Views, and as many rows as a tile has."""
    num_views, num_rows = q.scale.shape
    most, _ = TILES[q.x.device.type]
    for view in range(num_views):
        for start in range(0, num_rows, most):
            yield view, slice(start, min(start + most, num_rows))


def tiles_of(
    q: Rows, k: Rows, coldness: float, first: int, view: int, rows: slice
) -> Iterator[tuple[torch.Tensor, slice, torch.Tensor]]:
    """Scores [R, C] of a block of rows, -inf at their own keys; which keys; and these, [C, D]."""
    block = q.of(view).of(rows).matrix().mul_(coldness)
    num_keys, step = len(k.scale), max(1, TILES[q.x.device.type][1] // max(block.shape))
    for start in range(0, num_keys, step):
        columns = slice(start, min(start + step, num_keys))
        keys = k.of(columns).matrix()
        s = block @ keys.T
        own = first + rows.start - start
        if -len(block) < own < size(columns):
            s[max(0, -own) :, max(0, own) :].fill_diagonal_(-torch.inf)
        yield s, columns, keys


def size(part: slice) -> int:
    """Elements of a slice that has a start and a stop."""
    return part.stop - part.start
