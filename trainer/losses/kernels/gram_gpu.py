"""Moments of features on CUDA: cuBLAS for the products, Triton for what goes around them.

Bfloat16 features are standardised in float32, then rounded back for the tensor cores, which add up
in float32: an error like that of the features themselves. All others are multiplied in float32.
"""

from typing import Any

import torch

from shards.errors import UsageError
from trainer.losses.kernels.chunks import accumulator
from trainer.losses.kernels.gram import Place, operand
from trainer.losses.kernels.gram_kernels import (
    add_up,
    add_up_dots,
    join_parts,
    mix,
    standardise,
    write,
)
from trainer.losses.kernels.launch import TYPES, Kernel, block_of, launch, warps_of

BLOCK_ELEMENTS = 1 << 24  # of a block of x: its product is 67 MB in float32
TILE = 2048  # elements of a program's tile
COLUMNS = 64  # of a tile: 128 bytes of half precision
PART = 256  # rows that one program adds up


def moments(
    z: torch.Tensor,  # [V, B, D]
    num_targets: int,
    within: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [V, D] and second [1 + G, V, D] of gram_op.py."""
    num_views, num_images, dim = z.shape
    mean = z.new_empty((num_views, dim), dtype=accumulator(z))
    second = mean.new_empty((1 + num_targets, num_views, dim))
    num_parts = -(-num_images // PART)
    means = mean.new_empty((num_parts, num_views, dim))
    seconds = mean.new_empty((num_parts, *second.shape))
    tile = _tile(z, dim)
    constants = {"V": num_views, "D": dim, "WITHIN": within, "PART": PART}
    # The programs of one tile are neighbours: the cache serves all but the first of them.
    adding = Kernel(add_up, warps_of(TILE), constants | tile)
    grid = (1 + num_targets, -(-dim // tile["COLUMNS"]))
    launch(adding, (*grid, num_parts), z, means, seconds, num_images)
    del tile["ROWS"]
    joining = Kernel(join_parts, 1, constants | tile)
    launch(joining, grid, means, seconds, mean, second, num_parts, num_images)
    return mean, second


def standardised(
    z: torch.Tensor,  # [V, B, D]
    mean: torch.Tensor,  # [V, D]
    scale: torch.Tensor,  # [V, D]
    at: Place,
) -> torch.Tensor:
    """[V, C, E]: a block of x, as it is multiplied."""
    part = z[at]
    out = torch.empty_like(part, dtype=operand(z, True), memory_format=torch.contiguous_format)
    num_views, num_rows, width = part.shape
    tile = _tile(part[:1], width)
    del tile["BLOCK_V"]
    grid = (-(-num_rows // tile["ROWS"]), -(-width // tile["COLUMNS"]), num_views)
    compiled = Kernel(standardise, warps_of(TILE), {"D": z.shape[2], "W": width} | tile)
    given = (part, mean[:, at[2]], scale[:, at[2]], out)
    launch(compiled, grid, *given, z.shape[1], num_rows)
    return out


def multiply(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, add: bool) -> None:
    """Write a @ b, or add it; what is multiplied in half precision is added up in float32."""
    # Autocast leaves calls with `out` alone.
    if a.dtype == out.dtype:
        torch.addmm(out, a, b, beta=int(add), out=out)
    elif "dtype_out" not in torch.ops.aten.mm.overloads():
        raise UsageError(
            f"fused losses of bfloat16 on cuda need torch 2.8, got {torch.__version__}; "
            "upgrade it, or use impl='torch'"
        )
    else:
        to = torch.empty_like(out) if add else out
        torch.mm(a, b, out_dtype=out.dtype, out=to)
        if add:
            out += to


def meet(
    found: torch.Tensor,  # [S, B, B] - Gram matrices of the global views, sum of the local ones'
    num_targets: int,
    z: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each matrix the sum of those it meets; and the sum of their products."""
    return _mix(found, z, {"S": len(found), "G": num_targets, "TWICE": 0})


def weigh(
    found: torch.Tensor,  # [S, M, M]
    num_twice: int,
    z: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrices, the first of them twice; and the sum of their products with what was."""
    return _mix(found, z, {"S": len(found), "G": 0, "TWICE": num_twice})


def column_dots(
    product: torch.Tensor,  # [V, C, E]
    x: torch.Tensor,  # [V, C, E]
) -> torch.Tensor:
    """[V, E]: sum over rows of their product."""
    num_views, num_rows, width = x.shape
    parts = product.new_empty((-(-num_rows // PART), num_views, width))
    tile = _tile(product[:1], width)
    del tile["BLOCK_V"]
    compiled = Kernel(add_up_dots, warps_of(TILE), {"W": width, "PART": PART} | tile)
    grid = (-(-width // tile["COLUMNS"]), len(parts), num_views)
    launch(compiled, grid, product, x, parts, num_rows)
    # In two stages and without atomics: the same bits every time.
    return parts.sum(0)


def write_gradient(
    out: torch.Tensor,  # [V, B, D] - written
    z: torch.Tensor,
    mean: torch.Tensor,
    scale: torch.Tensor,
    x: torch.Tensor,  # [V, C, E]
    product: torch.Tensor,  # [V, C, E]
    factor: torch.Tensor,  # [V, D]
    table: torch.Tensor,  # [V, V, D]
    constant: torch.Tensor,  # [V, D]
    at: Place,
) -> None:
    """One block of the gradient, from the features as they were before rounding."""
    num_views, num_rows, width = x.shape
    tile = _tile(z, width)
    compiled = Kernel(write, warps_of(TILE), {"V": num_views, "D": z.shape[2], "W": width} | tile)
    grid = (-(-num_rows // tile["ROWS"]), -(-width // tile["COLUMNS"]))
    tables = [given[..., at[2]] for given in (mean, scale, factor, table, constant)]
    launch(compiled, grid, z[at], product, *tables, out[at], z.shape[1], num_rows)


def _tile(z: torch.Tensor, width: int) -> dict[str, Any]:
    """Of all views, some rows and some columns."""
    views, columns = block_of(len(z)), min(COLUMNS, block_of(width))
    rows = max(1, TILE // (views * columns))
    return {"ROWS": rows, "BLOCK_V": views, "COLUMNS": columns, "ACC": TYPES[accumulator(z)]}


def _mix(
    found: torch.Tensor, z: torch.Tensor, constants: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    is_same = operand(z, True) == found.dtype
    out = found if is_same else torch.empty_like(found, dtype=operand(z, True))
    size = found[0].numel()
    sums = found.new_empty(-(-size // TILE))
    constants = constants | {"BLOCK": TILE, "ACC": TYPES[found.dtype]}
    launch(Kernel(mix, warps_of(TILE), constants), (len(sums),), found, out, sums, size)
    return out, sums.sum()
