"""Potentials in Triton: some rows a program, whose second look at them is served by the cache.

A Sinkhorn step first finds the potentials of its rows, then adds the rows up for each prototype and
writes one partial sum for all of them; a second launch joins the partial sums in their order. So a
step reads the scores from memory once, where the plain form makes a dozen passes.
"""

from typing import Any

import torch
import triton.language as tl

from trainer.losses.kernels.chunks import accumulator
from trainer.losses.kernels.launch import TYPES, Kernel, block_of, kernel, launch, warps_of

TILE = 4096  # elements of a program's tile
JOIN = 256  # prototypes of a program that joins
FEW_ROWS = 8
MANY_ROWS = 32  # partial sums then take 1/16 of half-precision scores


def sample_potentials(
    logits: torch.Tensor,  # [A, R, K]
    prototypes: torch.Tensor,  # [A, K] accumulator
    scale: float,
) -> torch.Tensor:
    """[A, R] accumulator."""
    logits, prototypes = logits.contiguous(), prototypes.contiguous()
    num_views, num_rows, dim = logits.shape
    out = prototypes.new_empty(num_views, num_rows)
    constants = _constants(dim, 1, prototypes.dtype)
    compiled = Kernel(potentials_of_rows, warps_of(constants["BLOCK_K"]), constants)
    launch(compiled, (num_rows, num_views), logits, prototypes, out, num_rows, scale)
    return out


def sinkhorn_step(
    logits: torch.Tensor,  # [A, R, K]
    prototypes: torch.Tensor | None,  # [A, K] accumulator
    scale: float,
) -> torch.Tensor:
    """[A, K] accumulator."""
    logits, dtype = logits.contiguous(), accumulator(logits)
    num_views, num_rows, dim = logits.shape
    rows = FEW_ROWS if num_rows <= 1024 else MANY_ROWS
    num_parts = -(-num_rows // rows)
    out = logits.new_empty((num_views, dim), dtype=dtype)
    parts = logits.new_empty((num_parts, num_views, dim), dtype=dtype)
    constants = _constants(dim, rows, dtype) | {"HAS_PROTOTYPES": prototypes is not None}
    compiled = Kernel(add_up_rows, warps_of(TILE), constants)
    # A pointer that is not used must still be one.
    given = parts if prototypes is None else prototypes.contiguous()
    launch(compiled, (num_parts, num_views), logits, given, parts, num_rows, scale)
    joining = Kernel(join_parts, 1, {"BLOCK": JOIN, "ACC": TYPES[dtype]})
    launch(joining, (-(-out.numel() // JOIN),), parts, out, num_parts, out.numel())
    return out


def _constants(dim: int, rows: int, dtype: torch.dtype) -> dict[str, Any]:
    sizes = {"K": dim, "ROWS": rows, "BLOCK_K": block_of(dim, TILE // rows)}
    return sizes | {"ACC": TYPES[dtype]}


@kernel
def load_scores(p_logits, o_row, m_row, start, scale, K: tl.constexpr, BLOCK_K: tl.constexpr, ACC):
    """[ROWS, BLOCK_K] scaled scores, -inf outside, and [BLOCK_K] their columns."""
    o_k = start + tl.arange(0, BLOCK_K)
    m = m_row[:, None] & (o_k < K)[None, :]
    s = tl.load(p_logits + o_row[:, None] * K + o_k[None, :], mask=m, other=0.0).to(ACC) * scale
    return tl.where(m, s, float("-inf")), o_k


@kernel
def rows_of(
    p_logits,
    p_prototypes,  # of this view
    o_row,
    m_row,
    scale,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    ACC: tl.constexpr,
):
    """[ROWS] potentials: -logsumexp_k(S + f), in one pass; 0 for rows that are not there."""
    peak = tl.full([ROWS], float("-inf"), ACC)
    total = tl.zeros([ROWS], ACC)
    for start in range(0, K, BLOCK_K):
        s, o_k = load_scores(p_logits, o_row, m_row, start, scale, K, BLOCK_K, ACC)
        s += tl.load(p_prototypes + o_k, mask=o_k < K, other=0.0)[None, :]
        higher = tl.maximum(peak, tl.max(s, axis=1))
        # -inf - -inf is NaN: rows that are not there have no peak.
        shift = tl.where(m_row, higher, 0.0)
        total = total * tl.exp(peak - shift) + tl.sum(tl.exp(s - shift[:, None]), axis=1)
        peak = higher
    return tl.where(m_row, -(peak + tl.log(tl.where(m_row, total, 1.0))), 0.0)


@kernel
def potentials_of_rows(
    p_logits,  # [A, R, K]
    p_prototypes,  # [A, K] ACC
    p_out,  # [A, R] ACC
    num_rows,  # R
    scale,
    K: tl.constexpr,
    ROWS: tl.constexpr,  # 1
    BLOCK_K: tl.constexpr,
    ACC: tl.constexpr,
):
    """The potential of a row."""
    view = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) + tl.arange(0, ROWS)
    m_row = row < num_rows
    o_row = view * num_rows + row
    found = rows_of(p_logits, p_prototypes + view * K, o_row, m_row, scale, K, ROWS, BLOCK_K, ACC)
    tl.store(p_out + o_row, found, mask=m_row)


@kernel
def add_up_rows(
    p_logits,  # [A, R, K]
    p_prototypes,  # [A, K] ACC, where there are any
    p_parts,  # [P, A, K] ACC
    num_rows,  # R
    scale,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    HAS_PROTOTYPES: tl.constexpr,
    ACC: tl.constexpr,
):
    """The logsumexp over some rows of S + g, for every prototype."""
    part, view = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row = part * ROWS + tl.arange(0, ROWS)
    m_row = row < num_rows
    o_row = view * num_rows + row
    samples = tl.zeros([ROWS], ACC)
    if HAS_PROTOTYPES:
        p_own = p_prototypes + view * K
        samples = rows_of(p_logits, p_own, o_row, m_row, scale, K, ROWS, BLOCK_K, ACC)
    p_out = p_parts + (part * tl.num_programs(1) + view) * K
    for start in range(0, K, BLOCK_K):
        s, o_k = load_scores(p_logits, o_row, m_row, start, scale, K, BLOCK_K, ACC)
        s += samples[:, None]
        peak = tl.max(s, axis=0)
        # Columns that are not there have no peak either.
        peak = tl.where(o_k < K, peak, 0.0)
        total = tl.sum(tl.exp(s - peak[None, :]), axis=0)
        found = peak + tl.log(tl.where(o_k < K, total, 1.0))
        tl.store(p_out + o_k, found, mask=o_k < K)


@kernel
def join_parts(
    p_parts,  # [P, N] ACC
    p_out,  # [N] ACC
    num_parts,  # P
    num_columns,  # N
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    """-logsumexp over the parts, in their order."""
    o_n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_n = o_n < num_columns
    peak = tl.load(p_parts + o_n, mask=m_n, other=0.0)
    total = tl.full([BLOCK], 1.0, ACC)
    part = tl.full([], 1, tl.int64)
    # `while`, since a range with a run-time end fails in the interpreter of Triton 3.6 on numpy 2.4
    while part < num_parts:
        x = tl.load(p_parts + part * num_columns + o_n, mask=m_n, other=0.0)
        higher = tl.maximum(peak, x)
        total = total * tl.exp(peak - higher) + tl.exp(x - higher)
        peak = higher
        part += 1
    tl.store(p_out + o_n, -(peak + tl.log(total)), mask=m_n)
