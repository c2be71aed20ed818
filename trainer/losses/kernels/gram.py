"""The moments of features without a matrix larger than need be: the order of work.

The same for all devices; `on` is the module that does the work on one, gram_cpu or gram_gpu.

Legend: V views of which the first G are the global ones, B images, D features, x the standardised
or centred features.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import torch

from trainer.losses.kernels.chunks import accumulator

LEAST = 128  # rows or columns of a block
Place = tuple[slice, slice, slice]


class Plan(NamedTuple):
    """The sums: B x B products of rows ("Gram"), or D x D products of columns."""

    is_gram: bool
    pairs: list[tuple[int, int]]  # of views, whose columns meet
    num_twice: int  # of these pairs, which come first, count in both orders
    num_matrices: int
    side: int  # B or D


def plan(shape: torch.Size, num_targets: int, within: bool) -> Plan:
    """Gram where that takes fewer products of numbers, forward and backward together.

    Between views: 4 V B B D against 6 B D D a pair, as a pair has two gradients; for two views
    B < 0.75 D. Within each: 4 B B D against 4 B D D, as either matrix is symmetric. Where D x D is
    chosen, all of these matrices together are smaller than the features in float32.
    """
    num_views, num_images, dim = shape
    if within:
        pairs = [(v, v) for v in range(num_views)]
        is_gram, num_twice, num_grams = num_images < dim, num_views, num_views
    else:
        both = [(v, g) for v in range(num_targets) for g in range(v)]
        pairs = both + [(v, g) for v in range(num_targets, num_views) for g in range(num_targets)]
        is_gram = 2 * num_views * num_images < 3 * len(pairs) * dim
        # Local views meet the same views, so that the sum of their matrices will do.
        num_twice, num_grams = len(both), min(num_views, num_targets + 1)
    if is_gram:
        return Plan(True, pairs, num_twice, num_grams, num_images)
    return Plan(False, pairs, num_twice, len(pairs), dim)


def operand(z: torch.Tensor, on_cuda: bool) -> torch.dtype:
    """Of what is multiplied: bfloat16 features on CUDA stay so, for its tensor cores."""
    return z.dtype if on_cuda and z.dtype == torch.bfloat16 else accumulator(z)


def forward(
    z: torch.Tensor,  # [V, B, D]
    num_targets: int,
    eps: float | None,
    on: ModuleType,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, second, squares and matrices of gram_op.py."""
    z, within = z.contiguous(), eps is None
    num_views, num_images, _ = z.shape
    todo = plan(z.shape, num_targets, within)
    mean, second = on.moments(z, num_targets, within)
    scale = _scale(second, eps)
    found = mean.new_empty((todo.num_matrices, todo.side, todo.side))
    for at in _blocks(z, todo.is_gram, on.BLOCK_ELEMENTS):
        x = on.standardised(z, mean, scale, at)
        is_first = at[1].start == at[2].start == 0
        if todo.is_gram:
            for v in range(num_views):
                slot = min(v, len(found) - 1)
                add = not is_first or v > slot
                on.multiply(found[slot], x[v], x[v].T, add=add)
        else:
            for out, (v, g) in zip(found, todo.pairs, strict=True):
                on.multiply(out, x[v].T, x[g], add=not is_first)
        del x  # before the next is made
    if todo.is_gram and not within:
        matrices, total = on.meet(found, num_targets, z)
    else:
        matrices, total = on.weigh(found, todo.num_twice, z)
    half = todo.is_gram or within
    return mean, second, total * ((0.5 if half else 1.0) / num_images**2), matrices


def backward(
    d_mean: torch.Tensor,  # [V, D] accumulator - upstream gradients
    d_second: torch.Tensor,  # [1 + G, V, D] accumulator
    d_squares: torch.Tensor,  # [] accumulator
    z: torch.Tensor,  # [V, B, D]
    mean: torch.Tensor,
    second: torch.Tensor,
    matrices: torch.Tensor,
    eps: float | None,
    on: ModuleType,
) -> torch.Tensor:
    """[V, B, D] like z: a product with the matrices, and a few of the x of the same column.

    d_z[v] = factor[v] product[v] + sum_w table[v, w] x[w] + d_mean[v] / B
    """
    z = z.contiguous()
    num_views, num_images, _ = z.shape
    todo = plan(z.shape, len(second) - 1, eps is None)
    scale = _scale(second, eps)
    table = _table(d_second / num_images, within=eps is None) / scale
    factor = d_squares * (2 / num_images**2) * scale
    constant = d_mean / num_images
    # What standardising takes from a gradient: its part along x. The mean is 0, as that of x is.
    share = factor / num_images
    along = table.diagonal(dim1=0, dim2=1).T  # [V, D]
    if eps is not None and not todo.is_gram:
        along -= share * _dots(matrices, todo, mean)
    out = torch.empty_like(z)
    for at in _blocks(z, todo.is_gram, on.BLOCK_ELEMENTS):
        x, columns = on.standardised(z, mean, scale, at), (slice(None), at[2])
        product = torch.empty_like(x, dtype=mean.dtype)
        if todo.is_gram:
            for v in range(num_views):
                on.multiply(product[v], matrices[min(v, len(matrices) - 1)], x[v], add=False)
            if eps is not None:
                along[columns] -= share[columns] * on.column_dots(product, x)
        else:
            _times_pairs(product, x, matrices, todo, on)
        on.write_gradient(out, z, mean, scale, x, product, factor, table, constant, at)
        del x, product  # before the next are made
    return out


def _scale(second: torch.Tensor, eps: float | None) -> torch.Tensor:
    """[V, D]: what centred features are multiplied by."""
    return torch.ones_like(second[0]) if eps is None else (second[0] + eps).rsqrt()


def _table(
    d_second: torch.Tensor,  # [1 + G, V, D] - over B
    *,
    within: bool,
) -> torch.Tensor:
    """[V, V, D]: how much of a centred view w goes into the gradient of view v, by column."""
    own, cross = 2 * d_second[0], d_second[1:]
    if within:
        cross = 2 * cross
        own = own + cross.sum(0)
        own[: len(cross)] += cross.sum(1)
        cross = -cross
    table = own.new_zeros(len(own), *own.shape)
    table[: len(cross)] += cross
    table[:, : len(cross)] += cross.transpose(0, 1)
    table.diagonal(dim1=0, dim2=1).add_(own.T)
    return table


def _dots(
    matrices: torch.Tensor,  # [P, D, D]
    todo: Plan,
    mean: torch.Tensor,
) -> torch.Tensor:
    """[V, D]: sum_b product x, which the matrices know without the features."""
    dots = torch.zeros_like(mean)
    for k, (v, g) in enumerate(todo.pairs):
        weight = 2 if k < todo.num_twice else 1
        for view, dim in ((v, 1), (g, 0)):
            norms = torch.linalg.vector_norm(matrices[k], dim=dim, dtype=mean.dtype)
            dots[view] += norms.square() / weight
    return dots


def _times_pairs(
    product: torch.Tensor,  # [V, C, D] - written
    x: torch.Tensor,  # [V, C, D]
    matrices: torch.Tensor,  # [P, D, D]
    todo: Plan,
    on: ModuleType,
) -> None:
    seen = set()
    for matrix, (v, g) in zip(matrices, todo.pairs, strict=True):
        on.multiply(product[v], x[g], matrix.T, add=v in seen)
        if v != g:
            on.multiply(product[g], x[v], matrix, add=g in seen)
        seen |= {v, g}


def _blocks(z: torch.Tensor, is_gram: bool, elements: int) -> Iterator[Place]:
    """The places in z of blocks of columns, for products of rows; else of blocks of rows."""
    num_views, num_images, dim = z.shape
    length, other = (dim, num_images) if is_gram else (num_images, dim)
    # A power of two: kernels are compiled for each width, and batches may be of any size.
    step = 1 << max(LEAST, elements // (num_views * other)).bit_length() - 1
    for start in range(0, length, step):
        part, whole = slice(start, min(start + step, length)), slice(0, other)
        yield (slice(None), whole, part) if is_gram else (slice(None), part, whole)
