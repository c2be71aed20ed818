"""A tile of scores in Triton: how rows and keys are cut into them, and how one is made.

A program takes a block of rows of one view, over a part of the keys. Parts are so many that few
rows fill a GPU, too; each writes its own results.

A product of bfloat16 or float16 rows is exact, also in TF32. Weights of keys are rounded to
bfloat16, or to TF32 for float16, whose range is too small for them. Float32 takes three TF32
products.

Legend: P views, B rows of each, S keys, D features.
"""

from typing import Any, NamedTuple

import torch
import triton.language as tl

from trainer.losses.kernels.launch import TYPES, Kernel, block_of, kernel, launch
from trainer.losses.kernels.rows import Rows

# Types of operands, and how a product of float32 is made.
DOTS = {
    torch.bfloat16: (tl.bfloat16, "tf32"),
    torch.float16: (tl.float32, "tf32"),
    torch.float32: (tl.float32, "tf32x3"),
    torch.float64: (tl.float64, "ieee"),
}
PROGRAMS = 128  # that a launch has at least, where the keys allow: one for each multiprocessor
PER_PART = 4  # tiles of a part at least
MIN_BLOCK = 16  # of a product


class Tile(NamedTuple):
    """The tile of one program; products take slices of rows, or operands would be spilled."""

    rows: int
    keys: int
    slice: int
    num_warps: int


# By whether operands are bfloat16, and rows longer than 128.
TILES = {
    (True, False): Tile(64, 64, 128, 4),
    (True, True): Tile(64, 64, 256, 8),
    (False, False): Tile(64, 32, 32, 8),
    (False, True): Tile(16, 16, 32, 8),
}


class Problem:
    """The arguments of every launch over blocks of rows and parts of keys."""

    def __init__(self, q: Rows, k: Rows) -> None:
        (num_views, num_rows), num_keys = q.scale.shape, len(k.scale)
        self.given = [x.contiguous() for x in (q.x, q.scale, k.x, k.scale)]
        self.numbers = (num_rows, num_keys)
        dim, acc = q.x.shape[-1], q.scale.dtype
        operand, precision = DOTS[torch.promote_types(q.x.dtype, k.x.dtype)]
        block_d = max(MIN_BLOCK, block_of(dim))
        tile = TILES[operand == tl.bfloat16, block_d > 128]
        rows = max(MIN_BLOCK, block_of(num_rows, tile.rows))
        self.num_warps = tile.num_warps
        self.constants: dict[str, Any] = {"D": dim, "BLOCK_D": block_d, "BLOCK_R": rows}
        self.constants |= {"BLOCK_K": tile.keys, "SLICE": min(block_d, tile.slice)}
        self.constants |= {"OPERAND": operand, "PRECISION": precision, "ACC": TYPES[acc]}
        self.blocks = (-(-num_rows // rows), num_views)
        keys, tiles = tile.keys, block_of(-(-num_keys // tile.keys))
        num_blocks = self.blocks[0] * num_views
        while tiles > PER_PART and num_blocks * -(-num_keys // (tiles * keys)) < PROGRAMS:
            tiles //= 2
        # A power of two, so that few sizes are compiled.
        self.constants["PART"] = tiles * keys
        self.num_parts = max(1, -(-num_keys // (tiles * keys)))

    def launch(
        self,
        function: object,
        others: tuple[torch.Tensor, ...],
        *numbers: float,
        **constants: Any,
    ) -> None:
        """A program for every block of rows and part of the keys."""
        compiled = Kernel(function, self.num_warps, self.constants | constants)
        grid = (*self.blocks, self.num_parts)
        launch(compiled, grid, *self.given, *others, *self.numbers, *numbers)


@kernel
def load_rows(
    p_rows,
    o_r,
    m_r,
    o_d,
    D: tl.constexpr,
    OPERAND: tl.constexpr,
):
    """[BLOCK, elements of a row]; 0 beyond."""
    at = o_r.to(tl.int64)[:, None] * D + o_d[None, :]
    return tl.load(p_rows + at, mask=m_r[:, None] & (o_d < D)[None, :], other=0.0).to(OPERAND)


@kernel
def score_tile(
    p_q,
    row,  # [BLOCK_R]
    m_r,
    q_scale,  # [BLOCK_R] ACC - times coldness
    own,  # [BLOCK_R] - the key that is left out
    p_k,
    p_k_scale,
    o_k,
    num_keys,
    D: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SLICE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
):
    """Scores [BLOCK_R, BLOCK_K], -inf where there is none, and the keys' scales."""
    m_k = o_k < num_keys
    k_scale = tl.load(p_k_scale + o_k, mask=m_k, other=0.0)
    s = tl.zeros([BLOCK_R, BLOCK_K], ACC)
    for start in tl.static_range(0, BLOCK_D, SLICE):
        o_d = start + tl.arange(0, SLICE)
        q = load_rows(p_q, row, m_r, o_d, D, OPERAND)
        k = load_rows(p_k, o_k, m_k, o_d, D, OPERAND)
        s = tl.dot(q, tl.trans(k), s, input_precision=PRECISION, out_dtype=ACC)
    s = s * q_scale[:, None] * k_scale[None, :]
    there = m_k[None, :] & (o_k[None, :] != own[:, None])
    return tl.where(there, s, float("-inf")), k_scale
