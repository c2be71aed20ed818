"""The sums of hsic_tiles.py in Triton: tiles of cosines, and what a kernel makes of them."""

import torch
import triton.language as tl

from trainer.losses.kernels.hsic_tiles import at_right_angles
from trainer.losses.kernels.launch import kernel
from trainer.losses.kernels.rows import Rows
from trainer.losses.kernels.score_tile import Problem, load_rows, score_tile
from trainer.losses.kernels.tiles import Side


def add_up(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    width: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and squares, [P, B] each."""
    problem = Problem(q, k)
    parts = q.scale.new_empty((2, problem.num_parts, *q.scale.shape))
    problem.launch(add_up_part, tuple(parts), width, at_right_angles(width))
    return parts[0].sum(0), parts[1].sum(0)


def pull(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    width: float,
    of_rows: Side,  # [P, B] each
    of_keys: Side,  # [P, S] each
    out: torch.Tensor,  # [P, B, D] accumulator
) -> None:
    """Add to every row the weighed sum of keys."""
    problem = Problem(q, k)
    parts = out.new_empty((problem.num_parts, *out.shape))
    sides = [x.contiguous() for x in (*of_rows, *of_keys)]
    problem.launch(pull_kernel_part, (*sides, parts), width, at_right_angles(width))
    out += parts.sum(0)


@kernel
def kernel_tile(
    p_q,
    row,
    m_r,
    q_scale,
    p_k,
    p_k_scale,
    o_k,
    num_keys,
    width,
    D: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SLICE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
):
    """[BLOCK_R, BLOCK_K] the inverse multiquadric, 0 where there is no key; and keys' scales."""
    s, k_scale = score_tile(
        p_q,
        row,
        m_r,
        q_scale,
        row * 0 - 1,
        p_k,
        p_k_scale,
        o_k,
        num_keys,
        D,
        BLOCK_R,
        BLOCK_K,
        BLOCK_D,
        SLICE,
        OPERAND,
        PRECISION,
        ACC,
    )
    # NaN is not below 0: it must get through.
    apart = 2.0 - 2.0 * s
    apart = tl.where(apart < 0.0, 0.0, apart)
    return width / tl.sqrt(width * width + apart), k_scale


@kernel
def add_up_part(
    p_q,  # [P, B, D]
    p_q_scale,  # [P, B] ACC
    p_k,  # [S, D]
    p_k_scale,  # [S] ACC
    p_sums,  # [parts, P, B] ACC
    p_squares,  # [parts, P, B] ACC
    num_rows,  # B
    num_keys,  # S
    width,
    k0,
    D: tl.constexpr,
    PART: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SLICE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
):
    """Of the kernel less k0 and of its square, over a part of the keys."""
    o_r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    m_r = o_r < num_rows
    row = tl.program_id(1).to(tl.int64) * num_rows + o_r
    q_scale = tl.load(p_q_scale + row, mask=m_r, other=0.0)
    sums, squares = tl.zeros([BLOCK_R], ACC), tl.zeros([BLOCK_R], ACC)
    for start in range(0, PART, BLOCK_K):
        o_k = tl.program_id(2) * PART + start + tl.arange(0, BLOCK_K)
        found, _ = kernel_tile(
            p_q,
            row,
            m_r,
            q_scale,
            p_k,
            p_k_scale,
            o_k,
            num_keys,
            width,
            D,
            BLOCK_R,
            BLOCK_K,
            BLOCK_D,
            SLICE,
            OPERAND,
            PRECISION,
            ACC,
        )
        found = tl.where((o_k < num_keys)[None, :], found - k0, 0.0)
        sums += tl.sum(found, axis=1)
        squares += tl.sum(found * found, axis=1)
    at = tl.program_id(2).to(tl.int64) * num_rows * tl.num_programs(1) + row
    tl.store(p_sums + at, sums, mask=m_r)
    tl.store(p_squares + at, squares, mask=m_r)


@kernel
def pull_kernel_part(
    p_q,  # [P, B, D]
    p_q_scale,  # [P, B] ACC
    p_k,  # [S, D]
    p_k_scale,  # [S] ACC
    p_row_sums,  # [P, B] ACC
    p_row_squares,  # [P, B] ACC
    p_key_sums,  # [P, S] ACC
    p_key_squares,  # [P, S] ACC
    p_out,  # [parts, P, B, D] ACC
    num_rows,  # B
    num_keys,  # S
    width,
    k0,
    D: tl.constexpr,
    PART: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SLICE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
):
    """The weighed sum of a part of the keys."""
    o_r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    m_r = o_r < num_rows
    view = tl.program_id(1).to(tl.int64)
    row = view * num_rows + o_r
    q_scale = tl.load(p_q_scale + row, mask=m_r, other=0.0)
    row_sums = tl.load(p_row_sums + row, mask=m_r, other=0.0)
    row_squares = tl.load(p_row_squares + row, mask=m_r, other=0.0)
    out = tl.zeros([BLOCK_R, BLOCK_D], ACC)
    for start in range(0, PART, BLOCK_K):
        o_k = tl.program_id(2) * PART + start + tl.arange(0, BLOCK_K)
        m_k = o_k < num_keys
        found, k_scale = kernel_tile(
            p_q,
            row,
            m_r,
            q_scale,
            p_k,
            p_k_scale,
            o_k,
            num_keys,
            width,
            D,
            BLOCK_R,
            BLOCK_K,
            BLOCK_D,
            SLICE,
            OPERAND,
            PRECISION,
            ACC,
        )
        at = view * num_keys + o_k
        of_sums = row_sums[:, None] + tl.load(p_key_sums + at, mask=m_k, other=0.0)[None, :]
        of_squares = (
            row_squares[:, None] + tl.load(p_key_squares + at, mask=m_k, other=0.0)[None, :]
        )
        slope = found * found * found / (width * width)
        h = (of_sums + 2.0 * (found - k0) * of_squares) * slope
        k = load_rows(p_k, o_k, m_k, tl.arange(0, BLOCK_D), D, OPERAND)
        weights = (h * k_scale[None, :]).to(OPERAND)
        out = tl.dot(weights, k, out, input_precision=PRECISION, out_dtype=ACC)
    o_part = tl.program_id(2).to(tl.int64) * num_rows * tl.num_programs(1)
    o_d = tl.arange(0, BLOCK_D)
    at = (o_part + row)[:, None] * D + o_d[None, :]
    tl.store(p_out + at, out, mask=m_r[:, None] & (o_d < D)[None, :])
