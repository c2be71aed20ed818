"""The sums of tiles.py in Triton: a tile of scores is made on the tensor cores and never written.

What is made of it stays in registers, and so does the sum of keys; parts are joined in their order.
"""

import torch
import triton.language as tl

from trainer.losses.kernels.launch import kernel
from trainer.losses.kernels.rows import Rows
from trainer.losses.kernels.score_tile import Problem, load_rows, score_tile
from trainer.losses.kernels.tiles import NO_KEY, Side


def attend(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    coldness: float,  # 1 / temperature
    first: int = NO_KEY,
    *,
    with_mean: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logsumexp [P, B] and mean [P, B, D], or none; as in tiles.py."""
    problem = Problem(q, k)
    lse = q.scale.new_empty((problem.num_parts, *q.scale.shape))
    mean = lse.new_empty((*lse.shape, q.x.shape[-1] if with_mean else 0))
    problem.launch(attend_part, (lse, mean), first, coldness, WITH_MEAN=with_mean)
    whole = lse.logsumexp(dim=0).clamp_min_(torch.finfo(lse.dtype).min)
    if not with_mean:
        return whole, mean[0]
    return whole, mean.mul_(lse.sub_(whole).exp_()[..., None]).sum(0)


def pull(
    q: Rows,  # [P, B, D]
    k: Rows,  # [S, D]
    coldness: float,
    first: int,
    asked: Side | None,  # [P, B] each
    answered: Side | None,  # [P, S] each
    out: torch.Tensor,  # [P, B, D] accumulator
) -> None:
    """Add to every row the weighed sum of keys, as in tiles.py."""
    problem = Problem(q, k)
    parts = out.new_empty((problem.num_parts, *out.shape))
    nothing = (out, out)
    sides = [x.contiguous() for side in (asked, answered) for x in side or nothing]
    sizes = {"ASKED": asked is not None, "ANSWERED": answered is not None}
    problem.launch(pull_part, (*sides, parts), first, coldness, **sizes)
    out += parts.sum(0)


@kernel
def attend_part(
    p_q,  # [P, B, D]
    p_q_scale,  # [P, B] ACC
    p_k,  # [S, D]
    p_k_scale,  # [S] ACC
    p_lse,  # [parts, P, B] ACC
    p_mean,  # [parts, P, B, D] ACC
    num_rows,  # B
    num_keys,  # S
    num_before,  # the key of row 0
    coldness,
    D: tl.constexpr,
    PART: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SLICE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
    WITH_MEAN: tl.constexpr,
):
    """Logsumexp and mean over a part of the keys."""
    o_r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    m_r = o_r < num_rows
    row = tl.program_id(1).to(tl.int64) * num_rows + o_r
    q_scale = tl.load(p_q_scale + row, mask=m_r, other=0.0) * coldness
    peak, total = tl.full([BLOCK_R], float("-inf"), ACC), tl.zeros([BLOCK_R], ACC)
    along = tl.zeros([BLOCK_R, BLOCK_D], ACC)
    for start in range(0, PART, BLOCK_K):
        o_k = tl.program_id(2) * PART + start + tl.arange(0, BLOCK_K)
        s, k_scale = score_tile(
            p_q,
            row,
            m_r,
            q_scale,
            num_before + o_r,
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
        higher = tl.maximum(peak, tl.max(s, axis=1))
        # A tile may have no key, and there is no peak before the first.
        shift = tl.where(higher > float("-inf"), higher, 0.0)
        moved = tl.exp(peak - shift)
        p = tl.exp(s - shift[:, None])
        total = total * moved + tl.sum(p, axis=1)
        if WITH_MEAN:
            k = load_rows(p_k, o_k, o_k < num_keys, tl.arange(0, BLOCK_D), D, OPERAND)
            weights = (p * k_scale[None, :]).to(OPERAND)
            along = tl.dot(
                weights, k, along * moved[:, None], input_precision=PRECISION, out_dtype=ACC
            )
        peak = higher
    shift = tl.where(peak > float("-inf"), peak, 0.0)
    o_part = tl.program_id(2).to(tl.int64) * num_rows * tl.num_programs(1)
    # Where there is a key at all, the highest adds 1; NaN is not hidden.
    divisor = tl.where(total == 0.0, 1.0, total)
    lse = tl.where(total == 0.0, float("-inf"), shift + tl.log(divisor))
    tl.store(p_lse + o_part + row, lse, mask=m_r)
    if WITH_MEAN:
        along = along / divisor[:, None]
        o_d = tl.arange(0, BLOCK_D)
        at = (o_part + row)[:, None] * D + o_d[None, :]
        tl.store(p_mean + at, along, mask=m_r[:, None] & (o_d < D)[None, :])


@kernel
def pull_part(
    p_q,  # [P, B, D]
    p_q_scale,  # [P, B] ACC
    p_k,  # [S, D]
    p_k_scale,  # [S] ACC
    p_row_shift,  # [P, B] ACC
    p_row_weight,  # [P, B] ACC
    p_key_shift,  # [P, S] ACC
    p_key_weight,  # [P, S] ACC
    p_out,  # [parts, P, B, D] ACC
    num_rows,  # B
    num_keys,  # S
    num_before,  # the key of row 0
    coldness,
    D: tl.constexpr,
    PART: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SLICE: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
    ASKED: tl.constexpr,
    ANSWERED: tl.constexpr,
):
    """The weighed sum of a part of the keys."""
    o_r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    m_r = o_r < num_rows
    view = tl.program_id(1).to(tl.int64)
    row = view * num_rows + o_r
    q_scale = tl.load(p_q_scale + row, mask=m_r, other=0.0) * coldness
    if ASKED:
        row_shift = tl.load(p_row_shift + row, mask=m_r, other=0.0)
        row_weight = tl.load(p_row_weight + row, mask=m_r, other=0.0)
    out = tl.zeros([BLOCK_R, BLOCK_D], ACC)
    for start in range(0, PART, BLOCK_K):
        o_k = tl.program_id(2) * PART + start + tl.arange(0, BLOCK_K)
        s, k_scale = score_tile(
            p_q,
            row,
            m_r,
            q_scale,
            num_before + o_r,
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
        h = tl.zeros([BLOCK_R, BLOCK_K], ACC)
        if ASKED:
            h += tl.exp(s - row_shift[:, None]) * row_weight[:, None]
        if ANSWERED:
            m_k = o_k < num_keys
            at = view * num_keys + o_k
            key_shift = tl.load(p_key_shift + at, mask=m_k, other=0.0)
            key_weight = tl.load(p_key_weight + at, mask=m_k, other=0.0)
            h += tl.exp(s - key_shift[None, :]) * key_weight[None, :]
        k = load_rows(p_k, o_k, o_k < num_keys, tl.arange(0, BLOCK_D), D, OPERAND)
        weights = (h * k_scale[None, :]).to(OPERAND)
        out = tl.dot(weights, k, out, input_precision=PRECISION, out_dtype=ACC)
    o_part = tl.program_id(2).to(tl.int64) * num_rows * tl.num_programs(1)
    o_d = tl.arange(0, BLOCK_D)
    at = (o_part + row)[:, None] * D + o_d[None, :]
    tl.store(p_out + at, out, mask=m_r[:, None] & (o_d < D)[None, :])
